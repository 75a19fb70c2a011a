"""The addresses and ports of the platform itself. No user's URL and no model may reach them, whatever the operator
allows.

They come from three sources: the servers that the configuration names, which are resolved periodically; the processes
of those servers, if they run on this machine; and the table in which services publish what they listen on.
"""

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

import psutil

from tidemill.runtime import service_endpoints
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log
from tidemill.security.egress.addresses import Address, Network, parse_networks
from tidemill.security.egress.reserved_endpoints import ReservedEndpoints, SocketAddress

LOOK_UP_WITHIN_S: Final = 5.0
LISTEN_EVERY_S: Final = 10.0  # to services that were started anew
LOOK_UP_EVERY: Final = 3  # of these times, for names that lead elsewhere and servers that were started anew
PROC_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))  # columns: proc(5)
PROC_LISTEN: Final = "0A"
DEFAULT_PORTS: Final = {"http": 80, "https": 443, "postgres": 5432, "postgresql": 5432, "nats": 4222, "tls": 4222}


class _Server(NamedTuple):
    """A server as the configuration names it."""

    name: str
    port: int


class _Seen(NamedTuple):
    """Ports on this machine. `owned`: all ports of each server's process, by the configured port; `beside`: ports of
    other processes of the same programs.
    """

    owned: dict[int, frozenset[int]]
    beside: frozenset[int]


class Platform:
    """`urls` are those of the configured servers, `public_urls` those by which clients reach the gateway.

    Call `look_up` before use.
    """

    def __init__(
        self,
        urls: Iterable[str],
        public_urls: str = "",
        told: Callable[[], Awaitable[Sequence[SocketAddress]]] | None = None,
    ) -> None:
        self._servers = _servers(urls)
        self._gateway = _servers([public_urls])
        self._told = told
        self._addresses: dict[str, set[Address]] = {}  # by name, as they were known last
        self._owned: dict[int, frozenset[int]] = {}  # by the server's configured port, likewise
        self._scan = ListenerScan()
        self._listeners: Sequence[SocketAddress] = ()
        self._of_servers = self._reserved = ReservedEndpoints()
        named = {server.name for server in self._servers | self._gateway}
        self.names = frozenset(named | {"localhost", socket.gethostname().lower()})
        self.networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, urls: Iterable[str], public_urls: str, database: Database) -> "Platform":
        """Return a platform that also reads what the services publish in the database."""
        return cls(urls, public_urls, lambda: service_endpoints.load_endpoints(database))

    def reserved(self) -> ReservedEndpoints:
        return self._reserved

    async def look_up(self) -> None:
        """Resolve and scan everything. A name that cannot be resolved keeps the addresses that it had."""
        await asyncio.gather(*(self._look_up(name) for name in sorted(self.names)), self._listen_to_services())
        servers = self._endpoints(self._servers)
        here, seen = await asyncio.to_thread(_look_around, self._scan, frozenset(port for _, port in servers))
        self._owned |= seen.owned
        self._of_servers = ReservedEndpoints.of(here, servers, owned=self._owned, uncertain_ports=seen.beside)
        self._combine()
        own = here.union(*self._addresses.values())
        self.networks = parse_networks(",".join(sorted(str(address) for address in own)))

    def _combine(self) -> None:
        self._reserved = self._of_servers.with_listeners([*self._endpoints(self._gateway), *self._listeners])

    def _endpoints(self, servers: Iterable[_Server]) -> list[SocketAddress]:
        return [(address, port) for name, port in servers for address in self._addresses.get(name, ())]

    async def follow(self) -> None:
        """Look up periodically. Run as a named task."""
        for time in itertools.count(1):
            await asyncio.sleep(LISTEN_EVERY_S)
            if time % LOOK_UP_EVERY:
                await self._listen_to_services()
                self._combine()
            else:
                await self.look_up()

    async def _look_up(self, name: str) -> None:
        try:
            async with asyncio.timeout(LOOK_UP_WITHIN_S):
                infos = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError):
            return
        self._addresses[name] = {ip_address(str(info[4][0]).partition("%")[0]) for info in infos}

    async def _listen_to_services(self) -> None:
        if self._told is None:
            return
        try:
            self._listeners = await self._told()
        except TRANSIENT_ERRORS as error:
            log().warning("database away", action="retry", what="listeners", error=str(error))


def _servers(urls: Iterable[str]) -> frozenset[_Server]:
    return frozenset(server for url in urls for each in url.split(",") if (server := _server(each)))


def _server(url: str) -> _Server | None:
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        name, port = parts.hostname, _port(parts)
    except ValueError:
        return None
    return _Server(name.lower(), port) if name else None


def _port(url: SplitResult) -> int:
    """Return the URL's port or its scheme's. Without either: 0, which nobody can listen on."""
    return url.port or DEFAULT_PORTS.get(url.scheme, 0)


def _look_around(scan: "ListenerScan", ports: frozenset[int]) -> tuple[frozenset[Address], _Seen]:
    """Return the machine's addresses, and what is seen of the servers at these ports. Blocking."""
    try:
        return service_endpoints.addresses_here(), scan.seen(ports)
    except (psutil.Error, OSError) as error:
        log().warning("cannot see what listens here", action="look up", error=str(error))
        return frozenset(), _Seen({}, frozenset())


class ListenerScan:
    """Which process listens where, on this machine.

    Finding the process of a socket reads the descriptors of all processes (60 ms of CPU where 100 run), so the last
    answer stands while the listening sockets are the same ones. Use it from one thread at a time.
    """

    def __init__(self) -> None:
        self._sockets: frozenset[str] | None = None  # those of the last scan; None: scan the next time
        self._ports: frozenset[int] = frozenset()
        self._seen = _Seen({}, frozenset())

    def seen(self, ports: frozenset[int]) -> _Seen:
        """Return what is seen of the servers that listen at `ports`. Blocking. Raise OSError or psutil.Error.

        An ordinary user sees the processes of his own account alone: the ports of others' remain unknown.
        """
        sockets = listening_sockets()
        if sockets is None or sockets != self._sockets or ports != self._ports:
            listening = [
                (each.pid, each.laddr.port)
                for each in psutil.net_connections("tcp")
                if each.status == psutil.CONN_LISTEN and each.laddr
            ]
            self._seen = _seen([(pid, port) for pid, port in listening if pid is not None], ports)
            # A server whose process was not found (it was starting, or is another user's) is looked for again.
            hidden = any(pid is None and port in ports for pid, port in listening)
            self._sockets, self._ports = None if hidden else sockets, ports
        return self._seen


def listening_sockets() -> frozenset[str] | None:
    """Return the kernel's lines of the TCP sockets that listen, cut to address, port and inode; None off Linux."""
    found: set[str] = set()
    for table in PROC_TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except FileNotFoundError:  # no IPv6, or no such system
            continue
        rows = (line.split() for line in lines)
        found.update(f"{row[1]} {row[9]}" for row in rows if row[3] == PROC_LISTEN)
    return frozenset(found) or None


def _seen(listening: Sequence[tuple[int, int]], ports: frozenset[int]) -> _Seen:
    """`listening`: process and port of each socket."""
    server_of = {pid: port for pid, port in listening if port in ports}
    programs = {_program(pid) for pid in server_of} - {None}
    owned: dict[int, set[int]] = {}
    for pid, port in listening:
        if pid in server_of:
            owned.setdefault(server_of[pid], set()).add(port)
    return _Seen(
        owned={server: frozenset(theirs) for server, theirs in owned.items()},
        beside=frozenset(port for pid, port in listening if pid not in server_of and _program(pid) in programs),
    )


def _program(pid: int) -> str | None:
    try:
        return psutil.Process(pid).exe() or None
    except psutil.Error:
        return None
