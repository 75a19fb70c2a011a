"""A Tidemill service as a process of the stack: ready when its own readiness endpoint says so."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tidemill.stack import ports
from tidemill.stack.home import Home
from tidemill.stack.process import Launch, ManagedProcess, ProbeError, StartError

READY_WITHIN_S = 120.0  # the first to start migrates the database; a worker may import torch
DEFAULT_DRAIN_S = 30.0
# Beyond the time that the service itself allows for finishing what it has begun.
DRAIN_MARGIN_S = 5.0
PORT_TRIES = 3
WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    name: str
    command: str


BACKGROUND = (
    ServiceSpec("scheduler", "tidemill-scheduler"),
    ServiceSpec("worker", "tidemill-worker"),
    ServiceSpec("webhook-dispatcher", "tidemill-webhook-dispatcher"),
    ServiceSpec("storage-janitor", "tidemill-storage-janitor"),
)
GATEWAY = ServiceSpec("gateway", "tidemill-gateway")


class Service:
    """`env` is the whole environment but for TIDEMILL_OPS_PORT, which every start takes from `choose_ops_port`: the
    last one as long as it is free.
    """

    def __init__(
        self, spec: ServiceSpec, home: Home, programs: Path, env: Mapping[str, str], choose_ops_port: Callable[[], int]
    ) -> None:
        self.name = spec.name
        self.log = home.log(spec.name)
        self.process = ManagedProcess(home.records / f"{spec.name}.json")
        self._program = programs / spec.command
        self._env = dict(env)
        self._choose_ops_port = choose_ops_port

    @property
    def ready_url(self) -> str:
        return ready_url(self._env["TIDEMILL_HOST"], self._ops_port)

    @property
    def _ops_port(self) -> str:
        return self._env.get("TIDEMILL_OPS_PORT", "0")  # until the first start

    @property
    def where(self) -> str:
        port = self._env.get("TIDEMILL_PORT")
        ops = f"ops {self._ops_port}"
        return f"port {port}, {ops}" if port else ops

    async def start(self) -> None:
        await self.process.end_leftover(signal.SIGTERM, self._grace_s)
        if not self._program.exists():
            raise StartError(f"{self.name} did not start: there is no {self._program}")
        for tries_left in reversed(range(PORT_TRIES)):
            port = self._choose_ops_port()
            self._env["TIDEMILL_OPS_PORT"] = str(port)
            try:
                await self._start()
            except StartError:
                # Between the choice and the use another program may have taken the port.
                if tries_left == 0 or self.process.alive or await asyncio.to_thread(ports.becomes_free, port):
                    raise
            else:
                break

    async def _start(self) -> None:
        launch = Launch(
            name=self.name,
            argv=[str(self._program)],
            env=self._env,
            log=self.log,
            stop_grace_s=self._grace_s,
        )
        await self.process.start(launch, self._probe, READY_WITHIN_S)

    async def stop(self) -> None:
        await self.process.stop()

    async def kill(self) -> None:
        await self.process.kill()

    @property
    def _grace_s(self) -> float:
        try:
            return float(self._env.get("TIDEMILL_DRAIN_S", DEFAULT_DRAIN_S)) + DRAIN_MARGIN_S
        except ValueError:
            return DEFAULT_DRAIN_S + DRAIN_MARGIN_S

    async def _probe(self) -> None:
        reason = await not_ready(self.ready_url)
        if reason is not None:
            raise ProbeError(reason)


def ready_url(host: str, ops_port: str | int) -> str:
    return f"http://{'127.0.0.1' if host in WILDCARDS else host}:{ops_port}/ready"


async def not_ready(url: str) -> str | None:
    """Why the service is not ready, or None when it is."""
    timeout = aiohttp.ClientTimeout(total=3)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as reply:
            return None if reply.ok else f"{reply.status} {(await reply.text())[:200]}"
    except (aiohttp.ClientError, TimeoutError) as error:
        return str(error) or type(error).__name__
