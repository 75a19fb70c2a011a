"""The shape of every service: resources that start in order and stop in reverse, named tasks, readiness, drain.

A service is built by its `build(config)` and run by `run`. A task that ends or fails while the service runs ends the
service, so that whoever supervises it starts it afresh: nothing limps on with half its parts.
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeVar

import uvloop
from aiohttp import web
from prometheus_client import REGISTRY, generate_latest

from tidemill.runtime.config import Common, ConfigError, load
from tidemill.runtime.telemetry import configure, log
from tidemill.security.egress.reserved_endpoints import SocketAddress

Check = Callable[[], str | None]  # a reason why the service is not ready, or None
Main = Callable[[], Coroutine[Any, Any, None]]
Start = Callable[[], Awaitable[None]]
ConfigT = TypeVar("ConfigT", bound=Common)
SettingT = TypeVar("SettingT")
# New objects before the collector looks at them. By Python's own 700 it looks at a request's while that is still being
# answered, again and again; by this many nearly all of them have gone without it.
GC_THRESHOLD = 20_000
STOP_LIMIT_S = 10.0  # closing what is left after the drain; a hung close must not hold a restart up


class StartError(Exception):
    """The service cannot start; the message is for the operator."""


class Listener(NamedTuple):
    """A bus subject that a service listens to: each message is decoded as `kind` and handled.

    `answers` True: a request, to which `handle` returns the reply. False: a hint, which may be lost.
    """

    subject: str
    kind: Any
    handle: Callable[[Any], Awaitable[Any]]
    answers: bool = False


class Timer(NamedTuple):
    """A task that runs as long as its service. It wakes at its own interval, or when a handler has news for it."""

    name: str
    main: Main


class Service:
    """Owns the parts of one process. `name` is the service's directory name."""

    def __init__(self, name: str, config: Common) -> None:
        self.name = name
        self.config = config
        self.stopping = asyncio.Event()
        self.listens: list[SocketAddress] = []  # what it listens on, so far
        self._stack = AsyncExitStack()
        self._starts: list[tuple[str, Start]] = []
        self._mains: list[tuple[str, Main]] = []
        self._drains: list[tuple[str, Start]] = []
        self._checks: dict[str, Check] = {}
        self._starting = "listener"
        self._ready = False

    def resource(self, name: str, manager: AbstractAsyncContextManager[object]) -> None:
        """Entered at start, in order; left at stop, in reverse."""

        async def enter() -> None:
            await self._stack.enter_async_context(manager)

        self._starts.append((name, enter))

    def start(self, name: str, step: Start) -> None:
        """A step of the start that has nothing to close."""
        self._starts.append((name, step))

    def task(self, name: str, main: Main) -> None:
        """Runs for as long as the service does."""
        self._mains.append((name, main))

    def drain(self, name: str, step: Start) -> None:
        """Runs when the service has been told to stop, before anything is closed; bounded by config.drain_s."""
        self._drains.append((name, step))

    def ready_when(self, name: str, check: Check) -> None:
        self._checks[name] = check

    def not_ready(self) -> dict[str, str]:
        """Reasons by name; empty when the service may be sent work."""
        if self.stopping.is_set():
            return {"service": "stopping"}
        if not self._ready:
            return {"service": f"starting: {self._starting}"}
        return {name: reason for name, check in self._checks.items() if (reason := check())}

    async def run(self) -> int:
        """Starts, runs until told to stop or a task ends, drains, closes. Returns the exit status."""
        logger = log().bind(action="run")
        self._install_signals()
        async with self._stack:
            await self._stack.enter_async_context(_ops_server(self))
            if not await self._start_parts():
                return 0
            tasks = [asyncio.create_task(main(), name=name) for name, main in self._mains]
            self._stack.push_async_callback(_cancel, tasks)
            self._ready = True
            gc.freeze()  # what is there now stays
            gc.set_threshold(GC_THRESHOLD)
            logger.info("ready")
            status = await self._until_stopped(tasks)
            await self._run_drains()
        logger.info("stopped", status=status)
        return status

    async def _start_parts(self) -> bool:
        """False when the service was told to stop meanwhile, as while it waits for a database that is away."""
        stop = asyncio.create_task(self.stopping.wait(), name="stopping")
        for name, step in self._starts:
            part = asyncio.ensure_future(step())
            self._starting = name  # a database that is away keeps it here
            log().debug("starting", action="start", part=name)
            await asyncio.wait([part, stop], return_when=asyncio.FIRST_COMPLETED)
            if not part.done():
                part.cancel()
                await asyncio.gather(part, return_exceptions=True)
                return False
            part.result()
        stop.cancel()
        return True

    async def _until_stopped(self, tasks: list[asyncio.Task[None]]) -> int:
        stop = asyncio.create_task(self.stopping.wait(), name="stopping")
        done, _ = await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
        self.stopping.set()
        stop.cancel()
        failed = [task for task in tasks if task in done]
        for task in failed:
            error = None if task.cancelled() else task.exception()
            log().error("task ended", action="run", task=task.get_name(), exc_info=error)
        return 1 if failed else 0

    async def _run_drains(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.drain_s):
                for name, step in self._drains:
                    log().info("draining", action="drain", part=name)
                    await step()

    def _install_signals(self) -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if self.stopping.is_set():  # a second signal means now
                os._exit(1)
            self.stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_LIMIT_S):
            await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def _ops_server(service: Service) -> AsyncIterator[None]:
    """GET /live, /ready (503 with reasons) and /metrics, on a port of its own that users never see."""

    async def live(_request: web.Request) -> web.Response:
        return web.json_response({"status": "live"})

    async def ready(_request: web.Request) -> web.Response:
        reasons = service.not_ready()
        return web.json_response({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.add_routes([web.get("/live", live), web.get("/ready", ready), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    service.listens += await listen(runner, service.config.host, service.config.ops_port, "TIDEMILL_OPS_PORT")
    try:
        yield
    finally:
        await runner.cleanup()


async def listen(runner: web.AppRunner, host: str, port: int, variable: str) -> list[SocketAddress]:
    """Begins to listen; where. Raises StartError."""
    try:
        await web.TCPSite(runner, host, port, reuse_address=True).start()
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port} ({error.strerror}); set {variable} to a free port") from None
    return endpoints(runner)


def endpoints(runner: web.AppRunner) -> list[SocketAddress]:
    return [(ip_address(str(each[0]).partition("%")[0]), int(each[1])) for each in runner.addresses]


def parse_setting(variable: str, read: Callable[[str], SettingT], text: str) -> SettingT:
    """What `read` makes of a setting, where its type alone says too little. Raises StartError with its variable."""
    try:
        return read(text)
    except ValueError as error:
        raise StartError(f"{variable} cannot be read: {error}") from None


def main(name: str, kind: type[ConfigT], build: Callable[[ConfigT], Awaitable[Service]]) -> None:
    """The console command of a service: exit 0 after a clean stop, 1 when it failed, 2 when it cannot start."""
    try:
        config = load(kind, os.environ)
    except ConfigError as error:
        sys.exit(f"tidemill-{name}: {error}")
    configure(name, config)

    async def live() -> int:
        return await (await build(config)).run()

    try:
        status = uvloop.run(live())
    except StartError as error:
        log().error("cannot start", action="start", reason=str(error))
        status = 2
    sys.exit(status)
