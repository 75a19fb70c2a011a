"""The gateway's HTTP server: the listening socket, and how open connections end when the gateway stops.

The next gateway process may accept from the same socket before this one stops accepting. Draining interrupts no
request: responses carry `Connection: close`, blocking creates respond as after their wait, streams may go on for
STREAMS_GRACE_S.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Self

from aiohttp import web

from tidemill.gateway.access.connections import ThrottlingRunner
from tidemill.gateway.access.refusal_cache import RefusalCache
from tidemill.gateway.config import Config
from tidemill.gateway.predictions.waiting import Waiters
from tidemill.runtime.service import StartError, endpoints
from tidemill.security.egress.reserved_endpoints import SocketAddress

# An active client sends a request on an idle connection within this time; the response then closes the connection.
IDLE_GRACE_S: Final = 2.0
STREAMS_GRACE_S: Final = 10.0  # most streams of running predictions end within it
POLL_S: Final = 0.02
# Connections that may queue while a gateway restarts; Linux caps it at net.core.somaxconn.
BACKLOG: Final = 4096


class Draining:
    """Whether this gateway is stopping. Every response reads it."""

    def __init__(self) -> None:
        self.on = False


class HttpServer:
    """An async context manager that serves HTTP; `drain` is a drain of the service. Adds its addresses to `listens`."""

    def __init__(
        self,
        config: Config,
        application: Callable[[], web.Application],
        draining: Draining,
        waiters: Waiters,
        listens: list[SocketAddress],
        *,
        refusal_cache: RefusalCache,
    ) -> None:
        self._config = config
        self._application = application
        self._draining = draining
        self._waiters = waiters
        self._listens = listens
        self._refusal_cache = refusal_cache
        self._runner: web.AppRunner | None = None
        self._site: web.BaseSite | None = None

    async def __aenter__(self) -> Self:
        self._runner = ThrottlingRunner(
            self._application(),
            self._refusal_cache,
            access_log=None,
            auto_decompress=False,
            shutdown_timeout=self._config.drain_s,
            keepalive_timeout=75,
        )
        await self._runner.setup()
        self._site = await _start_site(self._runner, self._config)
        self._listens += endpoints(self._runner)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def drain(self) -> None:
        """Return when all connections have ended or their time is over; `__aexit__` closes the rest."""
        self._draining.on = True
        self._refusal_cache.stop()  # early refusal_cache carry no `Connection: close`
        await asyncio.sleep(self._config.listen_on_s)
        if self._site is not None:
            await self._site.stop()
        self._waiters.stop()
        await self._until_closed(IDLE_GRACE_S)
        if self._runner is not None and self._runner.server is not None:
            self._runner.server.pre_shutdown()  # idle connections end now, others after their request
        await self._until_closed(STREAMS_GRACE_S)

    async def _until_closed(self, within_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while self._open() and loop.time() < deadline:  # noqa: ASYNC110 - aiohttp reports no end of a connection
            await asyncio.sleep(POLL_S)

    def _open(self) -> bool:
        return self._runner is not None and self._runner.server is not None and bool(self._runner.server.connections)


async def _start_site(runner: web.AppRunner, config: Config) -> web.BaseSite:
    site: web.BaseSite
    if config.listen_fd is not None:
        site = web.SockSite(runner, _inherited_socket(config.listen_fd), backlog=BACKLOG)
    else:
        site = web.TCPSite(runner, config.host, config.port, reuse_address=True, backlog=BACKLOG)
    try:
        await site.start()
    except OSError as error:
        where = f"{config.host}:{config.port} ({error.strerror})"
        raise StartError(f"cannot listen on {where}; set TIDEMILL_PORT to a free port") from None
    return site


def _inherited_socket(descriptor: int) -> socket.socket:
    """Return the listening socket that the parent process passed on. Raise StartError if it is not one."""
    try:
        inherited = socket.socket(fileno=descriptor)
    except OSError as error:
        raise StartError(f"TIDEMILL_LISTEN_FD: {error}") from None
    if not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        inherited.detach()  # not ours to close
        raise StartError(f"TIDEMILL_LISTEN_FD: descriptor {descriptor} is no listening socket")
    inherited.set_inheritable(False)
    return inherited
