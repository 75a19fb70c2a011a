"""Bodies that are announced and do not come."""

import asyncio

import pytest
from yarl import URL

from tidemill.gateway import call


@pytest.mark.parametrize("head", ["Content-Length: 100", "Transfer-Encoding: chunked"])
async def test_a_body_that_stops_is_not_waited_for_for_ever(gateway, alice, monkeypatch, head):
    monkeypatch.setattr(call, "BODY_WITHIN_S", 0.05)
    url = URL(gateway.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    authorization = alice.headers["Authorization"]
    lines = ("POST /v1/predictions HTTP/1.1", "Host: x", f"Authorization: {authorization}", head, "", "")
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"too slowly")
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in answer
    assert b"application/problem+json" in answer
