"""The shape of every service: resources that start in order and stop in reverse, named tasks, readiness, drain.

A service is made by its `build(config)` and run by `run`. When one of its tasks ends or fails, the service ends too, so
that its supervisor restarts it: a service never runs with only some of its parts.
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
# New objects before a garbage collection. With Python's default of 700, collections run while a request is handled and
# scan its live objects; with this many, nearly all objects have been freed by then without a collection.
GC_THRESHOLD = 20_000
STOP_LIMIT_S = 10.0  # for canceling tasks after the drain; one that hangs must not delay a restart


class StartError(Exception):
    """The service cannot start. The message is for the operator."""


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
    """The parts of one process. `name` is the name of the service's directory."""

    def __init__(self, name: str, config: Common) -> None:
        self.name = name
        self.config = config
        self.stopping = asyncio.Event()
        self.listens: list[SocketAddress] = []  # addresses and ports that it listens on, in the order in which it began
        self._stack = AsyncExitStack()
        self._starts: list[tuple[str, Start]] = []
        self._mains: list[tuple[str, Main]] = []
        self._drains: list[tuple[str, Start]] = []
        self._checks: dict[str, Check] = {}
        self._starting = "listener"
        self._ready = False

    def resource(self, name: str, manager: AbstractAsyncContextManager[object]) -> None:
        """Enter `manager` at start, in the order of these calls, and exit it at stop, in reverse order."""

        async def enter() -> None:
            await self._stack.enter_async_context(manager)

        self._starts.append((name, enter))

    def start(self, name: str, step: Start) -> None:
        """Add a step to the start that leaves nothing to close."""
        self._starts.append((name, step))

    def task(self, name: str, main: Main) -> None:
        """Add a task that runs as long as the service does."""
        self._mains.append((name, main))

    def drain(self, name: str, step: Start) -> None:
        """Add a step that runs when the service is told to stop, before it closes. All may take config.drain_s."""
        self._drains.append((name, step))

    def ready_when(self, name: str, check: Check) -> None:
        self._checks[name] = check

    def not_ready(self) -> dict[str, str]:
        """Return the reasons why the service is not ready, by name of the check; empty if it is ready."""
        if self.stopping.is_set():
            return {"service": "stopping"}
        if not self._ready:
            return {"service": f"starting: {self._starting}"}
        return {name: reason for name, check in self._checks.items() if (reason := check())}

    async def run(self) -> int:
        """Start, run until told to stop or until a task ends, drain, close. Return the exit status."""
        logger = log().bind(action="run")
        self._install_signals()
        async with self._stack:
            await self._stack.enter_async_context(_ops_server(self))
            if not await self._start_parts():
                return 0
            tasks = [asyncio.create_task(main(), name=name) for name, main in self._mains]
            self._stack.push_async_callback(_cancel, tasks)
            self._ready = True
            gc.freeze()  # objects that exist now live as long as the process
            gc.set_threshold(GC_THRESHOLD)
            logger.info("ready")
            status = await self._until_stopped(tasks)
            await self._run_drains()
        logger.info("stopped", status=status)
        return status

    async def _start_parts(self) -> bool:
        """Return False if the service was told to stop meanwhile, as while it waits for its database."""
        stop = asyncio.create_task(self.stopping.wait(), name="stopping")
        for name, step in self._starts:
            part = asyncio.ensure_future(step())
            self._starting = name  # shown by readiness while the step waits, for instance for the database
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
            if self.stopping.is_set():  # on a second signal end at once
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
    """Serve GET /live, /ready (503 with reasons) and /metrics on a port of their own, which users cannot reach."""

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
    """Begin to listen and return the addresses. Raise StartError, which names `variable`, if the port is taken."""
    try:
        await web.TCPSite(runner, host, port, reuse_address=True).start()
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port} ({error.strerror}); set {variable} to a free port") from None
    return endpoints(runner)


def endpoints(runner: web.AppRunner) -> list[SocketAddress]:
    return [(ip_address(str(each[0]).partition("%")[0]), int(each[1])) for each in runner.addresses]


def parse_setting(variable: str, read: Callable[[str], SettingT], text: str) -> SettingT:
    """Return `read(text)`, for settings whose type alone does not check them. Raise StartError with the variable."""
    try:
        return read(text)
    except ValueError as error:
        raise StartError(f"{variable} cannot be read: {error}") from None


def main(name: str, kind: type[ConfigT], build: Callable[[ConfigT], Awaitable[Service]]) -> None:
    """Run the console command of a service. Exit with 0 after a clean stop, 1 after a failure, 2 if it cannot start."""
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
