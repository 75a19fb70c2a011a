"""Monitors instances: their memory and disk, and their model's own healthcheck.

It kills an instance that is over a limit or unhealthy. It never starts one: the scheduler replaces what is gone.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.limits import GIB
from tidemill.hosting.child.failures import ChildFailure
from tidemill.model.host import process_state
from tidemill.runtime.telemetry import log
from tidemill.worker.instances import processes, usage
from tidemill.worker.instances.child_connection import ChildConnection
from tidemill.worker.instances.processes import RootProcess
from tidemill.worker.runs.instance import Instance

MEMORY_EVERY_S: Final = 1.0  # a model fills some gigabytes meanwhile at worst; the kernel's OOM killer is the backstop
STOPPED_EVERY_S: Final = 1.0  # a process found stopped twice in a row stopped itself: nobody else may signal it
DISK_EVERY_S: Final = 10.0  # each look walks all files; disks fill slower than memory
HEALTH_WITHIN_S: Final = 5.0  # Cog's own limit for healthcheck()
STOPPED: Final = "The model's process stopped itself (SIGSTOP) and did not go on."
FINISH_WITHIN_S: Final = 5.0  # an unhealthy instance may finish its runs, then it is killed


class MonitoredInstance(NamedTuple):
    """An instance and its limits. `folder` holds all that it writes; `uid` is None if it shares the worker's."""

    instance: Instance
    connection: ChildConnection
    pid: int
    folder: Path
    memory_limit_bytes: int | None
    uid: int | None = None


class InstanceMonitor:
    def __init__(self, *, disk_limit_bytes: int, health_every_s: float, disk_is_memory: bool = False) -> None:
        """`disk_is_memory`: instances write to a file system in memory, so their files count as memory too."""
        self._disk_limit_bytes = disk_limit_bytes
        self._disk_is_memory = disk_is_memory
        self._written_bytes: dict[str, int] = {}  # by instance, at the last look
        self._health_every_s = health_every_s
        self._monitored: dict[str, MonitoredInstance] = {}
        self._kernel_kills = usage.kernel_kills()

    def watch(self, monitored: MonitoredInstance) -> None:
        self._monitored[monitored.instance.id] = monitored

    def forget(self, instance: str) -> None:
        self._monitored.pop(instance, None)
        self._written_bytes.pop(instance, None)

    def fresh_kernel_kills(self) -> int:
        """Return how many processes the kernel killed for lack of memory since the last look, about a second ago."""
        return usage.kernel_kills() - self._kernel_kills

    async def watch_memory(self) -> None:
        """Named task."""
        while True:
            await asyncio.sleep(MEMORY_EVERY_S)
            limited = [each for each in self._monitored.values() if each.memory_limit_bytes is not None]
            written = dict(self._written_bytes) if self._disk_is_memory else {}
            for monitored, failure in await asyncio.to_thread(_over_memory, limited, written):
                self._kill(monitored, failure)
            self._kernel_kills = usage.kernel_kills()

    async def watch_stopped(self) -> None:
        """Named task. A process that sent itself SIGSTOP runs nothing and never answers."""
        before: set[str] = set()
        while True:
            await asyncio.sleep(STOPPED_EVERY_S)
            found = await asyncio.to_thread(_stopped, list(self._monitored.values()))
            for monitored in found:
                if monitored.instance.id in before:
                    self._kill(monitored, ChildFailure(STOPPED, ErrorCode.MODEL_CRASHED))
            before = {monitored.instance.id for monitored in found}

    async def watch_disk(self) -> None:
        """Named task."""
        while True:
            await asyncio.sleep(DISK_EVERY_S)
            for monitored in list(self._monitored.values()):
                used = await asyncio.to_thread(usage.disk_bytes, monitored.folder, self._disk_limit_bytes)
                if monitored.instance.id in self._monitored:
                    self._written_bytes[monitored.instance.id] = used
                if used > self._disk_limit_bytes:
                    error = f"The model wrote more than {self._disk_limit_bytes / GIB:.3g} GiB to its disk."
                    self._kill(monitored, ChildFailure(error, ErrorCode.MODEL_CRASHED))

    async def watch_health(self) -> None:
        """Named task. Asks instances that run nothing: a busy one need not answer in time."""
        while True:
            await asyncio.sleep(self._health_every_s)
            asked = [
                each for each in self._monitored.values() if each.connection.has_healthcheck and _is_idle(each.instance)
            ]
            await asyncio.gather(*(self._check_health(each) for each in asked))

    async def _check_health(self, monitored: MonitoredInstance) -> None:
        try:
            async with asyncio.timeout(HEALTH_WITHIN_S):
                error = await monitored.connection.check()
        except TimeoutError:
            what = f"The model's healthcheck() took longer than {HEALTH_WITHIN_S:g} s."
            self._kill(monitored, ChildFailure(what, ErrorCode.MODEL_CRASHED))
            return
        if error is None or monitored.instance.id not in self._monitored:
            return
        log().warning("unwell", action="health", instance=monitored.instance.id, error=error)
        monitored.instance.drain()
        try:
            async with asyncio.timeout(FINISH_WITHIN_S):
                await asyncio.wait([monitored.connection.ended])
        except TimeoutError:
            self._kill(monitored, ChildFailure(f"The model was not well: {error}.", ErrorCode.MODEL_CRASHED))

    def _kill(self, monitored: MonitoredInstance, failure: ChildFailure) -> None:
        instance = monitored.instance
        if instance.id in self._monitored:
            log().warning("ended", action="kill", instance=instance.id, queue=instance.queue, error=failure.error)
            monitored.connection.kill(failure)


def _is_idle(instance: Instance) -> bool:
    return instance.state == "ready" and not instance.runs


def _stopped(monitored: Sequence[MonitoredInstance]) -> list[MonitoredInstance]:
    return [each for each in monitored if process_state.is_stopped(each.pid)]


def _over_memory(
    limited: Sequence[MonitoredInstance], written: Mapping[str, int]
) -> list[tuple[MonitoredInstance, ChildFailure]]:
    over = []
    found = processes.of_instances([RootProcess(each.pid, each.uid) for each in limited])
    for monitored, pids in zip(limited, found, strict=True):
        limit, files = monitored.memory_limit_bytes or 0, written.get(monitored.instance.id, 0)
        used = usage.memory_bytes(pids, limit - files) + files
        if used > limit:
            error = f"The model used {used / GIB:.3g} GiB of memory; its hardware gives it {limit / GIB:.3g} GiB."
            over.append((monitored, ChildFailure(error, ErrorCode.OUT_OF_MEMORY, final=True)))
    return over
