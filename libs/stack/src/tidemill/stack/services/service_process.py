"""A Tidemill service as a process of the stack. It is ready when its readiness endpoint says so."""

import asyncio
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tidemill.stack.home.layout import Home
from tidemill.stack.processes import ports
from tidemill.stack.processes.process import Launch, ManagedProcess, ProbeError, ProcessStartError
from tidemill.stack.services import code_fingerprint

READY_WITHIN_S = 120.0  # the first service migrates the database, and a worker may import torch
DEFAULT_DRAIN_S = 30.0
# Added to the time that the service allows for its drain.
DRAIN_MARGIN_S = 5.0
PORT_TRIES = 3
SETTINGS = ("TIDEMILL_", "CUDA_", "OTEL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
SUCCESSOR = ".successor"  # suffix of the record of a process that was started beside another one of its service
# Variables of one process, or of ./just.
OWN = frozenset({"TIDEMILL_OPS_PORT", "TIDEMILL_LISTEN_FD", "TIDEMILL_TORCH", "TIDEMILL_SETUP_LOCKED"})
WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    name: str
    command: str
    exclusive: bool = False  # no second process may run beside it, since both would use the same directory


BACKGROUND_SERVICES = (
    ServiceSpec("scheduler", "tidemill-scheduler"),
    ServiceSpec("worker", "tidemill-worker", exclusive=True),
    ServiceSpec("webhook-dispatcher", "tidemill-webhook-dispatcher"),
    ServiceSpec("storage-janitor", "tidemill-storage-janitor"),
)
GATEWAY = ServiceSpec("gateway", "tidemill-gateway")


class ServiceProcess:
    """`env` is the whole environment except TIDEMILL_OPS_PORT, which each start takes from `choose_ops_port`: the last
    one if it is free. `listener` is the socket from which the service accepts. The supervisor keeps it open, so that no
    connection is refused while one process follows another.
    """

    def __init__(
        self,
        spec: ServiceSpec,
        home: Home,
        programs: Path,
        env: Mapping[str, str],
        choose_ops_port: Callable[[], int],
        *,
        listener: socket.socket | None = None,
        record: str | None = None,
    ) -> None:
        """`record` is the name of the process record; it defaults to the service's name."""
        self.spec = spec
        self.name = spec.name
        self.log = home.log(spec.name)
        self._record = record or spec.name
        self.process = ManagedProcess(home.records / f"{self._record}.json")
        self._program = programs / spec.command
        self._env = dict(env)
        self._inherits = () if listener is None else (listener.fileno(),)
        if listener is not None:
            self._env["TIDEMILL_LISTEN_FD"] = str(listener.fileno())
        self._choose_ops_port = choose_ops_port
        self._started_code = ""

    def differs_from(self, successor: "ServiceProcess") -> list[str]:
        """Return what differs in the successor: names of variables, and "code"."""
        mine, other = self.settings, successor.settings
        names = sorted(name for name in mine.keys() | other.keys() if mine.get(name) != other.get(name))
        return names if successor.code_now() == self._started_code else [*names, "code"]

    @property
    def settings(self) -> dict[str, str]:
        """The variables of its environment that are settings of a service."""
        return {name: value for name, value in self._env.items() if name.startswith(SETTINGS) and name not in OWN}

    def code_now(self) -> str:
        return code_fingerprint.fingerprint(self.name, self._program)

    @property
    def successors_record(self) -> str:
        """The name for the record of a process that starts while this one runs."""
        return self.name if self._record.endswith(SUCCESSOR) else f"{self.name}{SUCCESSOR}"

    @property
    def ready_url(self) -> str:
        return ready_url(self._env["TIDEMILL_HOST"], self._ops_port)

    @property
    def _ops_port(self) -> str:
        return self._env.get("TIDEMILL_OPS_PORT", "0")  # 0 before the first start

    @property
    def where(self) -> str:
        port = self._env.get("TIDEMILL_PORT")
        ops = f"ops {self._ops_port}"
        return f"port {port}, {ops}" if port else ops

    async def start(self) -> None:
        await self.process.stop_orphan(signal.SIGTERM, self._grace_s)
        if not self._program.exists():
            raise ProcessStartError(f"{self.name} did not start: there is no {self._program}")
        self._started_code = self.code_now()
        for tries_left in reversed(range(PORT_TRIES)):
            port = self._choose_ops_port()
            self._env["TIDEMILL_OPS_PORT"] = str(port)
            try:
                await self._start()
            except ProcessStartError:
                # Another program may have taken the port between its choice and its use.
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
            inherits=self._inherits,
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
    """Return why the service is not ready, or None if it is."""
    timeout = aiohttp.ClientTimeout(total=3)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as reply:
            return None if reply.ok else f"{reply.status} {(await reply.text())[:200]}"
    except (aiohttp.ClientError, TimeoutError) as error:
        return str(error) or type(error).__name__
