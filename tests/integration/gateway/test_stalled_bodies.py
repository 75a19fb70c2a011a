"""Bodies that are announced and do not come, or not whole."""

import asyncio

import pytest
from yarl import URL

from tidemill.gateway import call
from tidemill.gateway.files import uploads
from tidemill.gateway.http import REQUESTS
from tidemill.testing.running import until

LENGTH, CHUNKED = "Content-Length: 100", "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("request_line", "head"),
    [("POST /v1/predictions", LENGTH), ("POST /v1/predictions", CHUNKED), (f"PUT /v1/blobs/{'a' * 64}", LENGTH)],
)
async def test_a_body_that_stops_is_not_waited_for_for_ever(gateway, alice, monkeypatch, request_line, head):
    monkeypatch.setattr(call, "BODY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(uploads, "IDLE_LIMIT_S", 0.05)
    url = URL(gateway.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    authorization = f"Authorization: {alice.headers['Authorization']}"
    writer.write("\r\n".join((f"{request_line} HTTP/1.1", "Host: x", authorization, head, "", "")).encode())
    async with asyncio.timeout(120):
        answer = await reader.readuntil(b"too slowly")
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in answer
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    ("request_line", "route"),
    [("POST /v1/predictions", "/predictions"), (f"PUT /v1/blobs/{'a' * 64}", "/blobs/{sha256}")],
)
async def test_a_body_that_breaks_off_is_not_held_against_the_database(gateway, alice, request_line, route):
    refused, away = (REQUESTS.labels(route, status)._value.get for status in (400, 503))
    before = refused(), away()
    url = URL(gateway.url)
    _, writer = await asyncio.open_connection(url.host, url.port)
    authorization = f"Authorization: {alice.headers['Authorization']}"
    writer.write(f"{request_line} HTTP/1.1\r\nHost: x\r\n{authorization}\r\n{LENGTH}\r\n\r\n{{".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await until("the request's end", lambda: (refused(), away()) != before)
    assert (refused(), away()) == (before[0] + 1, before[1])
