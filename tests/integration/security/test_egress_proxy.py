"""The proxy on real sockets: what goes through, what is refused, and that nothing of what went through is told."""

import asyncio
import contextlib
import socket

import pytest
from aiohttp.abc import AbstractResolver

from tidemill.security.egress import proxy as egress_proxy
from tidemill.security.egress.addresses import parse_networks
from tidemill.security.egress.policy import AllowList, EgressPolicy
from tidemill.security.egress.proxy import EgressProxy, HostRules

PATIENCE_S = 20.0


class Names(AbstractResolver):
    def __init__(self, addresses):
        self.addresses = addresses
        self.asked = []

    async def resolve(self, host, port=0, family=socket.AF_INET):
        self.asked.append(host)
        if host not in self.addresses:
            raise OSError("no such name")
        return [{"host": each, "port": port} for each in self.addresses[host]]

    async def close(self):
        """Nothing is open."""


@pytest.fixture
async def echo():
    """A server that sends back what it gets, until the other side has said its last."""

    async def answer(reader, writer):
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65_536):
                writer.write(piece)
                await writer.drain()
            writer.write(b"bye")
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


class Way:
    """A proxy, what it told, and how a client would use it."""

    def __init__(self, port, told, names):
        self.port, self.told, self.names = port, told, names

    async def ask(self, line, then=b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(line + b"\r\n\r\n" + then)
        return reader, writer

    async def answer(self, line):
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await self.ask(line)
            text = await reader.read()
            writer.close()
            return text.decode()


@pytest.fixture
async def way(echo):
    async with contextlib.AsyncExitStack() as stack:

        async def start(allow="", deny="", names=None, hosts=None):
            told, resolver = [], Names(names or {})
            policy = EgressPolicy(allow=AllowList.parse(allow), deny=parse_networks(deny))
            proxy = EgressProxy(policy, resolver, hosts or HostRules(), lambda *what: told.append(what))
            listener = socket.create_server(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            await stack.enter_async_context(proxy.serving(listener))
            return Way(port, told, resolver)

        yield start


async def test_what_is_allowed_goes_through_both_ways_to_the_last_byte(way, echo):
    proxy = await way(allow=f"127.0.0.1/32:{echo}", names={"files.example": ["127.0.0.1"]})
    content = bytes(range(256)) * 8192
    reader, writer = await proxy.ask(f"CONNECT files.example:{echo} HTTP/1.1".encode())
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 Connection established\r\n\r\n"

        async def send():
            writer.write(content)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        assert await reader.read(-1) == content + b"bye"
        await sending
        writer.close()
    assert proxy.told == [("files.example", echo, "connected")]
    assert proxy.names.asked == ["files.example"]


@pytest.mark.parametrize(
    "target",
    [
        *("127.0.0.1:443", "[::1]:443", "10.0.0.1:443", "169.254.169.254:80", "192.168.1.1:443", "0.0.0.0:443"),
        *("[::ffff:127.0.0.1]:443", "[64:ff9b::7f00:1]:443", "[fe80::1]:443", "[fd00::1]:443", "2130706433:443"),
        *("127.1:443", "8.8.8.8:22", "8.8.8.8:25", "localhost:0", "private.example:443", "mixed.example:22"),
    ],
)
async def test_what_is_not_of_the_public_internet_is_refused(way, target):
    proxy = await way(names={"private.example": ["10.1.2.3", "127.0.0.1", "fd00::1"], "mixed.example": ["8.8.8.8"]})
    answer = await proxy.answer(f"CONNECT {target} HTTP/1.1".encode())
    assert answer.startswith(("HTTP/1.1 403 ", "HTTP/1.1 405 ")), answer
    assert [outcome for _, _, outcome in proxy.told] == ["refused"]


async def test_what_the_operator_denies_stays_closed_though_it_is_allowed(way, echo):
    proxy = await way(allow="127.0.0.1/32", deny="127.0.0.1/32", names={"files.example": ["127.0.0.1"]})
    for host in ("127.0.0.1", "files.example"):
        assert (await proxy.answer(f"CONNECT {host}:{echo} HTTP/1.1".encode())).startswith("HTTP/1.1 403 ")


async def test_hosts_that_were_not_declared_are_not_even_looked_up(way):
    proxy = await way(hosts=HostRules(only=("files.example",), never=frozenset({"db.internal"})))
    assert (await proxy.answer(b"CONNECT other.example:443 HTTP/1.1")).startswith("HTTP/1.1 403 ")
    assert proxy.names.asked == []


async def test_what_is_no_connect_is_refused_and_its_url_told_to_nobody(way):
    proxy = await way()
    answer = await proxy.answer(b"GET http://files.example/?token=hunter2 HTTP/1.1")
    assert answer.startswith("HTTP/1.1 405 ")
    assert "https://" in answer
    assert (await proxy.answer(b"x" * 20_000)).startswith("HTTP/1.1 400 ")
    assert "hunter2" not in repr(proxy.told)


async def test_names_that_do_not_exist_and_servers_that_do_not_answer(way):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    proxy = await way(allow="127.0.0.1/32", names={"down.example": ["127.0.0.1"]})
    assert (await proxy.answer(b"CONNECT nowhere.example:443 HTTP/1.1")).startswith("HTTP/1.1 502 ")
    assert (await proxy.answer(f"CONNECT down.example:{port} HTTP/1.1".encode())).startswith("HTTP/1.1 502 ")


async def test_connections_are_limited_and_idle_ones_end(way, echo, monkeypatch):
    monkeypatch.setattr(egress_proxy, "CONNECTIONS_LIMIT", 2)
    monkeypatch.setattr(egress_proxy, "IDLE_LIMIT_S", 0.3)
    proxy = await way(allow="127.0.0.1/32", names={})
    line = f"CONNECT 127.0.0.1:{echo} HTTP/1.1".encode()
    proxy.names.addresses["127.0.0.1"] = ["127.0.0.1"]
    async with asyncio.timeout(PATIENCE_S):
        held = [await proxy.ask(line) for _ in range(2)]
        for reader, _ in held:
            await reader.readuntil(b"\r\n\r\n")
        assert (await proxy.answer(line)).startswith("HTTP/1.1 503 ")
        for reader, writer in held:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        reader, writer = await proxy.ask(line)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
