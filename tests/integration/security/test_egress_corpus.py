"""Every forbidden address in every spelling, by every way in: no socket is made for it and nobody is connected to.

The proof is twofold: a trap listens on all addresses of this machine, and whatever the event loop dials is recorded.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv6Address

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tidemill.security.egress.addresses import SPECIAL_V4, SPECIAL_V6
from tidemill.security.egress.client import EgressClient
from tidemill.security.egress.errors import EgressDenied, EgressError
from tidemill.security.egress.policy import AllowList, EgressPolicy
from tidemill.security.egress.resolver import MAX_ADDRESSES, IsolatedResolver

GENEROUS_S = 30.0
# Both ends of each row of the registries; what lies outside 2000::/3 is in no row of ours and named here.
V4 = sorted({each for row in SPECIAL_V4 for each in (row[0], row[-1])} | {IPv4Address("169.254.169.254")})
V6 = [
    *(each for row in SPECIAL_V6 for each in (row[0], row[-1])),
    *map(
        IPv6Address,
        (
            "::", "::1", "::7f00:1", "64:ff9b:1::1", "100::1", "100:0:0:1::1", "5f00::1", "fc00::1", "fd00:ec2::254",
            "fdff:ffff::1", "fe80::1", "febf::1", "fec0::1", "ff00::1", "ff02::1", "ff0e::1", "4000::1", "1fff::1",
        ),
    ),
]  # fmt: skip


def octets(address: IPv4Address, form: str, separator: str = ".") -> str:
    return separator.join(form.format(each) for each in address.packed)


def halves(address: IPv4Address) -> str:
    return f"{address.packed[:2].hex()}:{address.packed[2:].hex()}"


# How an IPv4 address can be written in a URL, or carried in an IPv6 one.
V4_FORMS = {
    "plain": str,
    "dot at the end": lambda ip: f"{ip}.",
    "decimal": lambda ip: str(int(ip)),
    "octal": lambda ip: f"0{int(ip):o}",
    "hexadecimal": lambda ip: f"0x{int(ip):x}",
    "octal parts": lambda ip: octets(ip, "0{:o}"),
    "hexadecimal parts": lambda ip: octets(ip, "0x{:x}"),
    "capital hexadecimal parts": lambda ip: octets(ip, "0X{:X}"),
    "padded parts": lambda ip: octets(ip, "{:03}"),
    "two parts": lambda ip: f"{ip.packed[0]}.{int(ip) & 0xFFFFFF}",
    "three parts": lambda ip: f"{ip.packed[0]}.{ip.packed[1]}.{int(ip) & 0xFFFF}",
    "parts that overflow": lambda ip: octets(IPv4Address(int(ip)), "{}") + "." + "0",
    "wide digits": lambda ip: "".join(chr(ord(each) + 0xFEE0) if each != "." else each for each in str(ip)),
    "circled digits": lambda ip: "".join("⓪①②③④⑤⑥⑦⑧⑨"[int(each)] if each != "." else each for each in str(ip)),
    "ideographic dots": lambda ip: octets(ip, "{}", "\u3002"),
    "half-width dots": lambda ip: octets(ip, "{}", "\uff61"),
    "escaped": lambda ip: "".join(f"%{ord(each):02x}" for each in str(ip)),
    "escaped dots": lambda ip: octets(ip, "{}", "%2e"),
    "in brackets": lambda ip: f"[{ip}]",
    "mapped": lambda ip: f"[::ffff:{ip}]",
    "mapped in hexadecimal": lambda ip: f"[::ffff:{halves(ip)}]",
    "mapped at length": lambda ip: f"[0:0:0:0:0:FFFF:{halves(ip).upper()}]",
    "compatible": lambda ip: f"[::{ip}]",
    "translated": lambda ip: f"[::ffff:0:{halves(ip)}]",
    "NAT64": lambda ip: f"[64:ff9b::{ip}]",
    "NAT64 in hexadecimal": lambda ip: f"[64:ff9b::{halves(ip)}]",
    "local NAT64": lambda ip: f"[64:ff9b:1::{halves(ip)}]",
    "6to4": lambda ip: f"[2002:{halves(ip)}::1]",
    "Teredo server": lambda ip: f"[2001:0:{halves(ip)}::1]",
    "Teredo client": lambda ip: f"[2001:0:808:808:0:0:{halves(IPv4Address(int(ip) ^ 0xFFFFFFFF))}]",
    "ISATAP": lambda ip: f"[fe80::5efe:{ip}]",
    "with a scope": lambda ip: f"[::ffff:{ip}%25lo]",
}
V6_FORMS = {
    "plain": lambda ip: f"[{ip}]",
    "at length": lambda ip: f"[{ip.exploded}]",
    "capital": lambda ip: f"[{ip.exploded.upper()}]",
    "with a scope": lambda ip: f"[{ip}%25lo]",
    "with a bare scope": lambda ip: f"[{ip}%1]",
}
CORPUS = [
    *((f"IPv4 {name}", [form(ip) for ip in V4]) for name, form in V4_FORMS.items()),
    *((f"IPv6 {name}", [form(ip) for ip in V6]) for name, form in V6_FORMS.items()),
]
# Around a host: what some parser somewhere takes for another host. The trap's port is {port}, the allowed site {site}.
DISGUISES = [
    "http://{site}@127.0.0.2:{port}/",
    "http://{site}:80@127.0.0.2:{port}/",
    "http://u:p@127.0.0.2:{port}/",
    "http://127.0.0.2:{port}#@{site}/",
    "http://127.0.0.2:{port}?@{site}/",
    "http://127.0.0.2:{port}\\@{site}/",
    "http://{site}\\@127.0.0.2:{port}/",
    "http://{site}#@127.0.0.2:{port}/../@127.0.0.2:{port}/",
    "http:\\\\127.0.0.2:{port}\\",
    "http:127.0.0.2:{port}/",
    "http:/127.0.0.2:{port}/",
    "http:///127.0.0.2:{port}/",
    "http://127.0.0.2:{port}%2f@{site}/",
    "http://127.0.0.2%00.example.com:{port}/",
    "http://127.0.0.2\t:{port}/",
    "http://127.0.0.2\r\nHost: x:{port}/",
    "http://127.0.0.2:0{port}/",
    "http://127.0.0.2:+{port}/",
    "http://127.0.0.2:{port}:80/",
    "http://127.0.0.2.:{port}/",
    "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:{port}/",  # localhost in circles
    "http://localhost:{port}/",
    "http://LOCALHOST.:{port}/",
    "http://localhost.localdomain:{port}/",
    "http://loc\u00adalhost:{port}/",
    "http://ip6-localhost:{port}/",
    "gopher://127.0.0.2:{port}/",
    "dict://127.0.0.2:{port}/",
    "ftp://127.0.0.2:{port}/",
    "unix://127.0.0.2:{port}/",
    "//127.0.0.2:{port}/",
]


class Trap:
    """Listens where nobody may come, and counts who does."""

    def __init__(self) -> None:
        self.connections = 0

    async def start(self) -> None:
        self._servers = [await asyncio.start_server(self._caught, "0.0.0.0", 0)]
        self.port: int = self._servers[0].sockets[0].getsockname()[1]
        if socket.has_dualstack_ipv6():
            self._servers.append(await asyncio.start_server(self._caught, "::1", self.port))

    async def _caught(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()


class Site:
    """The one server that may be reached: sends whoever asks to `location`."""

    def __init__(self) -> None:
        self.location = "/"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.at = f"127.0.0.1:{self.port}"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 302 Found\r\nLocation: {self.location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        writer.write(head.encode("utf-8"))
        await writer.drain()
        writer.close()

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()


class Names(AbstractResolver):
    """Answers whatever it is told to, as an attacker's name server would."""

    def __init__(self) -> None:
        self.addresses: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = self.addresses if host.endswith(".test") else ["127.0.0.2", "::1"]
        return [
            ResolveResult(
                hostname=host,
                host=each,
                port=port,
                family=socket.AF_INET6 if ":" in each else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for each in found
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
async def trap() -> AsyncIterator[Trap]:
    made = Trap()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
async def egress(site: Site, names: Names) -> AsyncIterator[EgressClient]:
    """May go to the public internet, and to the site."""
    made = EgressClient(
        EgressPolicy(allow=AllowList.parse(f"127.0.0.1/32:{site.port}"), allow_http=True), resolver=names
    )
    yield made
    await made.close()


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every address that a connection is begun to, but for the test's own."""
    recorded: list[tuple[str, int]] = []
    original = asyncio.SelectorEventLoop.sock_connect

    async def sock_connect(loop: asyncio.AbstractEventLoop, sock: socket.socket, address: tuple[str, int]) -> None:
        recorded.append(address[:2])
        await original(loop, sock, address)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", sock_connect)
    return recorded


async def tried(egress: EgressClient, url: str) -> None:
    """By GET and by POST; both are refused."""
    with pytest.raises(EgressDenied):
        async with egress.fetch(url, limit_bytes=1000, timeout_s=GENEROUS_S) as download:
            _ = [chunk async for chunk in download.chunks]
    with pytest.raises(EgressDenied):
        await egress.post(url, body=b"x", headers={}, timeout_s=GENEROUS_S)


@pytest.mark.parametrize("hosts", [hosts for _, hosts in CORPUS], ids=[name.replace(" ", "-") for name, _ in CORPUS])
async def test_no_spelling_of_a_forbidden_address_is_dialled(
    egress: EgressClient, site: Site, trap: Trap, hosts: list[str], dialled: list[tuple[str, int]]
) -> None:
    for host in hosts:
        for port in ("", f":{trap.port}"):
            url = f"http://{host}{port}/"
            await tried(egress, url)
            site.location = url
            with pytest.raises(EgressDenied):
                async with egress.fetch(f"http://{site.at}/", limit_bytes=1000, timeout_s=GENEROUS_S):
                    pass
    assert {*dialled} == {("127.0.0.1", site.port)}
    assert trap.connections == 0


async def test_no_name_leads_to_a_forbidden_address(
    egress: EgressClient, site: Site, trap: Trap, names: Names, dialled: list[tuple[str, int]]
) -> None:
    carried = (V4_FORMS[form] for form in ("mapped", "NAT64", "6to4", "Teredo server", "compatible"))
    hidden = [form(ip).strip("[]") for form in carried for ip in V4]
    answers = [str(ip) for ip in (*V4, *V6)] + hidden
    for answer in answers:
        names.addresses = [answer]
        await tried(egress, "http://inner.test/")
        site.location = f"http://inner.test:{trap.port}/"
        with pytest.raises(EgressDenied):
            async with egress.fetch(f"http://{site.at}/", limit_bytes=1000, timeout_s=GENEROUS_S):
                pass
    # Many at once; all of them together would take longer to go through than a connection may, on a busy machine.
    for start in range(0, len(answers), 25):
        names.addresses = answers[start:][:25]
        await tried(egress, "http://inner.test/")
    assert {*dialled} == {("127.0.0.1", site.port)}
    assert trap.connections == 0


@pytest.mark.parametrize("disguise", DISGUISES)
async def test_no_disguise_leads_to_the_trap(
    egress: EgressClient, site: Site, trap: Trap, disguise: str, dialled: list[tuple[str, int]]
) -> None:
    url = disguise.format(port=trap.port, site=site.at)
    site.location = url
    for start in (url, f"http://{site.at}/"):
        with pytest.raises(EgressError):
            async with egress.fetch(start, limit_bytes=1000, timeout_s=GENEROUS_S):
                pass
    assert {*dialled} <= {("127.0.0.1", site.port)}
    assert trap.connections == 0


@pytest.mark.parametrize("port", [1, 22, 25, 53, 110, 465, 587, 3306, 5432, 6379, 8080, 9000, 11211, 27017, 65535])
async def test_no_port_but_those_of_the_web(egress: EgressClient, port: int, dialled: list[tuple[str, int]]) -> None:
    await tried(egress, f"http://8.8.8.8:{port}/")
    await tried(egress, f"http://[2606:4700:4700::1111]:{port}/")
    assert dialled == []


async def test_a_name_of_very_many_addresses_is_tried_at_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever owns the name could have us scan a network for them."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{number}", 80)) for number in range(200)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    resolver = IsolatedResolver()
    assert len(await resolver.resolve("many.test", 80)) == MAX_ADDRESSES
    await resolver.close()
