"""Bodies that are announced and do not come."""

import asyncio

import pytest
from yarl import URL

from tidemill.gateway import call
from tidemill.gateway.files import uploads

LENGTH, CHUNKED = "Content-Length: 100", "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("request_line", "head"),
    [("POST /v1/predictions", LENGTH), ("POST /v1/predictions", CHUNKED), (f"PUT /v1/blobs/{'a' * 64}", LENGTH)],
)
async def test_a_body_that_stops_is_not_waited_for_for_ever(gateway, alice, monkeypatch, request_line, head):
    monkeypatch.setattr(call, "BODY_WITHIN_S", 0.05)
    monkeypatch.setattr(uploads, "IDLE_LIMIT_S", 0.05)
    url = URL(gateway.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    authorization = f"Authorization: {alice.headers['Authorization']}"
    writer.write("\r\n".join((f"{request_line} HTTP/1.1", "Host: x", authorization, head, "", "")).encode())
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"too slowly")
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in answer
    assert b"application/problem+json" in answer
