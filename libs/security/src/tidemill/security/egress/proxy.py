"""The proxy between model code and the internet: only CONNECT; it resolves names and checks every address.

One proxy serves one sandbox, over a listening socket inside it. It reports host, port and outcome of each request,
never the traffic. Must never connect to an address that `EgressPolicy` refuses, whatever a name resolves to.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal

from aiohttp.abc import AbstractResolver

from tidemill.security.egress.errors import EgressDenied
from tidemill.security.egress.policy import EgressPolicy, EgressTarget

HEAD_LIMIT_BYTES: Final = 8 * 1024  # of a request; only one line is needed
HEAD_WITHIN_S: Final = 10.0
CONNECT_WITHIN_S: Final = 10.0  # look-up and all addresses together
IDLE_LIMIT_S: Final = 300.0  # without traffic in either direction: longer than any server's keep-alive
CONNECTIONS_LIMIT: Final = 64  # concurrent ones of one sandbox: enough for parallel downloads, too few for a scan
PIECE_BYTES: Final = 64 * 1024
REFUSAL_DRAIN_S: Final = 2.0  # how long a refused client may take to read the response and close
REFUSAL_DRAIN_READS: Final = 16

_REQUEST: Final = re.compile(rb"CONNECT (\[[0-9A-Fa-f:.]+\]|[^\s:\[\]@/]+):([0-9]{1,5}) HTTP/1\.[01]")

Outcome = Literal["connected", "refused", "failed", "malformed", "busy"]
Report = Callable[[str, int, Outcome], None]  # host, port and what came of it


@dataclass(frozen=True)
class HostRules:
    """Which host names may be requested. `only`: the names that the model declared, or None for any; `*.` and a domain
    matches all names below it. `never`: the platform's own names.
    """

    only: tuple[str, ...] | None = None
    never: frozenset[str] = frozenset()

    def allow(self, host: str) -> bool:
        name = host.lower().removesuffix(".")
        if name in self.never:
            return False
        return self.only is None or any(_matches(name, pattern) for pattern in self.only)


def _matches(name: str, pattern: str) -> bool:
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else name == pattern


class _RequestRefused(Exception):  # noqa: N818 -- named after the situation
    def __init__(self, status: str, reason: str, outcome: Outcome = "refused") -> None:
        super().__init__(reason)
        self.status = status
        self.outcome = outcome


def parse_connect(head: bytes) -> tuple[str, int]:
    """Return host and port of a CONNECT, IPv6 without brackets. Raise ValueError with a message for the
    model's author.
    """
    line = head.partition(b"\r\n")[0]
    match = _REQUEST.fullmatch(line)
    if match is None:
        if re.match(rb"[A-Z]+ http://", line):
            raise ValueError("only https:// URLs can be reached from here")
        raise ValueError("this proxy takes CONNECT alone")
    return match[1].decode("ascii", "replace").strip("[]"), int(match[2])


class EgressProxy:
    """Use it from one event loop. `resolver` is shared with other clients; its creator closes it."""

    def __init__(self, policy: EgressPolicy, resolver: AbstractResolver, hosts: HostRules, report: Report) -> None:
        self._policy = policy
        self._resolver = resolver
        self._hosts = hosts
        self._report = report
        self._connections: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serve on the socket, which it takes over. At exit all connections are closed."""
        listener.settimeout(0)
        server = await asyncio.start_server(self._accept, sock=listener, limit=HEAD_LIMIT_BYTES)
        try:
            yield
        finally:
            server.close()
            for task in list(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "streams call back in a task"
        self._connections.add(task)
        try:
            await self._serve_connection(reader, writer)
        # A client may close at any time. A task of asyncio's streams must not end canceled: it would log a traceback.
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = "", 0
        try:
            host, port = await _read_request(reader)
            self._check_connections_limit()
            outward, out = await self._dial(self._check_target(host, port), host, port)
        except _RequestRefused as refused:
            self._report(host, port, refused.outcome)
            await _answer(reader, writer, refused)
            return
        self._report(host, port, "connected")
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _relay((reader, writer), (outward, out))
        finally:
            out.transport.abort()

    def _check_connections_limit(self) -> None:
        if len(self._connections) > CONNECTIONS_LIMIT:
            raise _RequestRefused(
                "503 Service Unavailable", f"more than {CONNECTIONS_LIMIT} connections at a time", "busy"
            )

    def _check_target(self, host: str, port: int) -> EgressTarget:
        shown = f"[{host}]" if ":" in host else host
        if not self._hosts.allow(host):
            raise _RequestRefused("403 Forbidden", f"{shown} is not among the hosts that this model may reach")
        try:
            return self._policy.target(f"https://{shown}:{port}/")
        except EgressDenied as denied:
            raise _RequestRefused(
                "403 Forbidden", f"{shown}:{port} cannot be reached from here: {denied.reason}"
            ) from None

    async def _dial(
        self, target: EgressTarget, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        permits = self._policy.gate(target)
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                found = await self._resolver.resolve(host, port, socket.AF_UNSPEC)
                allowed = [each["host"] for each in found if permits(each["host"], port)]
                if not allowed:
                    raise _RequestRefused("403 Forbidden", f"{host} has no address that may be reached from here")
                return await _connect_first(allowed, port)
        except (OSError, TimeoutError):
            raise _RequestRefused("502 Bad Gateway", f"{host}:{port} could not be connected to", "failed") from None


async def _connect_first(addresses: Iterable[str], port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    error = OSError("no address")
    for address in addresses:
        try:
            # The address is numeric, so nothing is resolved again.
            return await asyncio.open_connection(address, port, limit=PIECE_BYTES)
        except OSError as failed:
            error = failed
    raise error


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, int]:
    try:
        async with asyncio.timeout(HEAD_WITHIN_S):
            return parse_connect(await reader.readuntil(b"\r\n\r\n"))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise _RequestRefused("400 Bad Request", "this is no request", "malformed") from None
    except ValueError as error:
        raise _RequestRefused("405 Method Not Allowed", str(error), "malformed") from None


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, refused: _RequestRefused) -> None:
    """Send the refusal. Read some unread data first, because closing a socket with unread data would discard the
    response.
    """
    body = f"{refused}\n".encode("ascii", "replace")
    fields = ("Content-Type: text/plain", f"Content-Length: {len(body)}", "Connection: close")
    writer.write("\r\n".join((f"HTTP/1.1 {refused.status}", *fields, "", "")).encode() + body)
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(REFUSAL_DRAIN_S):
            await writer.drain()
            writer.write_eof()
            for _ in range(REFUSAL_DRAIN_READS):
                if not await reader.read(PIECE_BYTES):
                    break


StreamPair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _relay(near: StreamPair, far: StreamPair) -> None:
    """Copy both directions until both have ended, or nothing was sent for IDLE_LIMIT_S."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(IDLE_LIMIT_S) as idle:

        def moved() -> None:
            idle.reschedule(loop.time() + IDLE_LIMIT_S)

        copies = [
            asyncio.create_task(_copy(*ends, moved), name="relay") for ends in ((near[0], far[1]), (far[0], near[1]))
        ]
        try:
            await asyncio.gather(*copies)
        finally:
            for copy in copies:
                copy.cancel()
            await asyncio.gather(*copies, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: Callable[[], None]) -> None:
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
        moved()
    if writer.can_write_eof():
        writer.write_eof()
