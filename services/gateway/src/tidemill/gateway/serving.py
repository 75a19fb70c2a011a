"""The gateway's listening socket and the connections through it: how they begin, and how they end.

A successor may accept from the same socket before this gateway has stopped to. What is open here ends in a way that
clients survive: answers say `Connection: close`, waits answer as when their time is over, streams run on for a while,
and nobody is cut off amid a request.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Self

from aiohttp import web

from tidemill.gateway.access.connections import Runner
from tidemill.gateway.access.refusals import Refusals
from tidemill.gateway.config import Config
from tidemill.gateway.predictions.waiting import Waiters
from tidemill.runtime.service import StartError, endpoints
from tidemill.security.egress.reserved_endpoints import SocketAddress

# A client in use sends something on an idle connection within this, and its answer says that the connection ends.
IDLE_GRACE_S: Final = 2.0
STREAMS_GRACE_S: Final = 10.0  # most streams of running predictions end by themselves within it
POLL_S: Final = 0.02
# As many as may connect while a gateway is started again; Linux cuts it to net.core.somaxconn.
BACKLOG: Final = 4096


class Draining:
    """Whether this gateway is about to stop; looked at by every answer."""

    def __init__(self) -> None:
        self.on = False


class HttpServer:
    """Use as an async context manager; `drain` is a drain of the service. Adds to `listens` where it listens."""

    def __init__(
        self,
        config: Config,
        application: Callable[[], web.Application],
        draining: Draining,
        waiters: Waiters,
        listens: list[SocketAddress],
        *,
        refusals: Refusals,
    ) -> None:
        self._config = config
        self._application = application
        self._draining = draining
        self._waiters = waiters
        self._listens = listens
        self._refusals = refusals
        self._runner: web.AppRunner | None = None
        self._site: web.BaseSite | None = None

    async def __aenter__(self) -> Self:
        self._runner = Runner(
            self._application(),
            self._refusals,
            access_log=None,
            auto_decompress=False,
            shutdown_timeout=self._config.drain_s,
            keepalive_timeout=75,
        )
        await self._runner.setup()
        self._site = await _listening(self._runner, self._config)
        self._listens += endpoints(self._runner)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def drain(self) -> None:
        """Returns when all connections have ended, or have had their time: the rest is let go when this is left."""
        self._draining.on = True
        self._refusals.stop()  # its answers do not say that the connection ends
        await asyncio.sleep(self._config.listen_on_s)
        if self._site is not None:
            await self._site.stop()
        self._waiters.let_go()
        await self._until_gone(IDLE_GRACE_S)
        if self._runner is not None and self._runner.server is not None:
            self._runner.server.pre_shutdown()  # idle connections end at once, others after what they are at
        await self._until_gone(STREAMS_GRACE_S)

    async def _until_gone(self, within_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while self._open() and loop.time() < deadline:  # noqa: ASYNC110 - nobody is told of connections that end
            await asyncio.sleep(POLL_S)

    def _open(self) -> bool:
        return self._runner is not None and self._runner.server is not None and bool(self._runner.server.connections)


async def _listening(runner: web.AppRunner, config: Config) -> web.BaseSite:
    site: web.BaseSite
    if config.listen_fd is not None:
        site = web.SockSite(runner, _inherited(config.listen_fd), backlog=BACKLOG)
    else:
        site = web.TCPSite(runner, config.host, config.port, reuse_address=True, backlog=BACKLOG)
    try:
        await site.start()
    except OSError as error:
        where = f"{config.host}:{config.port} ({error.strerror})"
        raise StartError(f"cannot listen on {where}; set TIDEMILL_PORT to a free port") from None
    return site


def _inherited(descriptor: int) -> socket.socket:
    """The socket that whoever started this process listens on. Raises StartError when it is none."""
    try:
        inherited = socket.socket(fileno=descriptor)
    except OSError as error:
        raise StartError(f"TIDEMILL_LISTEN_FD: {error}") from None
    if not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        inherited.detach()  # whose it is, we do not know
        raise StartError(f"TIDEMILL_LISTEN_FD: descriptor {descriptor} is no listening socket")
    inherited.set_inheritable(False)
    return inherited
