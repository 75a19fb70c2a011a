"""Instances on the scheduler's word: who is begun, who is stopped, and what becomes of one from first to last."""

import asyncio
from typing import Final

from prometheus_client import Counter

from tidemill.contracts.events import BootInstance, CommandReply, QueueRemoved, WorkerCommand
from tidemill.hosting.child.failures import BootFailed
from tidemill.hosting.environments.store import EnvironmentFailed
from tidemill.model.host.zygote_process import ForkRefusedError, ZygoteDiedError
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import TRANSIENT_ERRORS
from tidemill.runtime.tasks import Tasks
from tidemill.runtime.telemetry import log
from tidemill.security.bundle_paths import BundleError
from tidemill.worker.cache.blobs import BlobUnavailable
from tidemill.worker.gpus.assignments import NoSuchGpu
from tidemill.worker.instances import boot_phases
from tidemill.worker.instances.boot_records import BootRecords
from tidemill.worker.instances.booter import Booter
from tidemill.worker.instances.child_connection import ChildConnection
from tidemill.worker.instances.cleanup import Cleanup
from tidemill.worker.instances.crash_history import CrashHistory
from tidemill.worker.instances.managed_instance import ManagedInstance
from tidemill.worker.runs.engine import Engine
from tidemill.worker.runs.instance import Instance

FAILED_SHOWN_S: Final = 15.0  # a failed instance stays in the heartbeat so that the scheduler learns why
REASONS: Final = (
    BootFailed,
    BundleError,
    BlobUnavailable,
    EnvironmentFailed,
    ForkRefusedError,
    NoSuchGpu,
    ZygoteDiedError,
    TimeoutError,
    OSError,
    *TRANSIENT_ERRORS,
)
CRASHES: Final = Counter("tidemill_worker_crashes_total", "Booted instances that ended by their own doing", ["code"])


class InstanceManager:
    """Owns instances from the command to the end of their process. `changed` is set whenever one is in a new state."""

    def __init__(
        self,
        engine: Engine,
        boots: Booter,
        clearing: Cleanup,
        records: BootRecords,
        *,
        capacity: int,
        timeout_s: float,
    ) -> None:
        self._engine = engine
        self._boots = boots
        self._clearing = clearing
        self._records = records
        self._capacity = capacity
        self._timeout_s = timeout_s
        self._crashes = CrashHistory()
        self._lives: dict[str, ManagedInstance] = {}
        self._running = Tasks()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.changed = asyncio.Event()

    async def obey(self, command: WorkerCommand) -> CommandReply:
        """Idempotent by instance."""
        instances = self._engine.instances()
        known = instances.get(command.instance)
        if not isinstance(command, BootInstance):
            if known is not None:
                self._stop(known)
            return CommandReply(accepted=True)
        if known is not None:
            return CommandReply(accepted=True)
        if self._engine.draining:
            return CommandReply(accepted=False, reason="the worker is draining")
        if sum(one.state != "failed" for one in instances.values()) >= self._capacity:
            return CommandReply(accepted=False, reason="the worker is full")
        self._begin(Instance(command.instance, command.queue, monotonic()))
        return CommandReply(accepted=True)

    async def removed(self, event: QueueRemoved) -> None:
        """The queue's version was deleted: its instances end when they have finished what they run."""
        for instance in self._engine.instances().values():
            if instance.queue == event.queue:
                self._stop(instance)

    def environments_in_use(self) -> frozenset[str]:
        return frozenset(managed.environment for managed in self._lives.values() if managed.environment is not None)

    def booting(self) -> list[ManagedInstance]:
        return [managed for managed in self._lives.values() if managed.instance.state == "booting"]

    async def close(self) -> None:
        """Returns when the processes are gone, and what they wrote."""
        for managed in self._lives.values():
            managed.kill()
        for task in list(self._tasks.values()):
            task.cancel()
        await self._running.finished()  # those too that are clearing up already

    def _begin(self, instance: Instance) -> None:
        self._engine.lane(instance.queue).instances[instance.id] = instance
        managed = self._lives[instance.id] = ManagedInstance(instance)
        self._tasks[instance.id] = self._running.start(self._live(managed), f"instance {instance.id}")

    def _stop(self, instance: Instance) -> None:
        if instance.state == "ready":
            instance.drain()
        elif instance.state == "booting":
            self._tasks[instance.id].cancel()

    async def _live(self, managed: ManagedInstance) -> None:
        """One instance from first to last."""
        self.changed.set()
        try:
            await asyncio.sleep(self._crashes.wait_s(managed.instance.queue, monotonic()))
            async with asyncio.timeout(self._timeout_s):
                connection = await self._boots.boot(managed)
        except REASONS as error:
            managed.kill()
            await self._show_failure(
                managed, str(error) or managed.explained(f"it took longer than {self._timeout_s:g} s")
            )
        except asyncio.CancelledError:
            managed.kill()
            raise
        else:
            await self._serve(managed, connection)
        finally:
            await self._end(managed)

    async def _serve(self, managed: ManagedInstance, connection: ChildConnection) -> None:
        """Returns when its process has ended."""
        instance = managed.instance
        self._engine.ready(instance)
        self.changed.set()
        await self._records.booted(instance, managed.printed)
        await asyncio.wait(
            [connection.ended]
        )  # awaited itself it would be canceled with this task, before the child ended
        crashed = connection.crash is not None
        self._crashes.ended(instance.queue, monotonic(), crashed=crashed, finished=instance.finished)
        if connection.crash is not None:
            CRASHES.labels(connection.crash.code).inc()
            log().warning(
                "crashed", action="crash", instance=instance.id, queue=instance.queue, error=connection.crash.error
            )
            await self._records.crashed(instance, connection.crash)

    async def _show_failure(self, managed: ManagedInstance, error: str) -> None:
        """Others need not wait for its GPUs meanwhile."""
        instance = managed.instance
        boot_phases.FAILURES.inc()
        log().warning("boot failed", action="boot", instance=instance.id, queue=instance.queue, error=error)
        instance.state, instance.error = "failed", error[:2000]
        self._engine.lane(instance.queue).instances[instance.id] = instance  # gone() may have taken it away
        self.changed.set()
        await self._records.booted(instance, managed.printed)
        await self._clearing.give_gpus_back(managed)
        await asyncio.sleep(FAILED_SHOWN_S)

    async def _end(self, managed: ManagedInstance) -> None:
        instance = managed.instance
        self._engine.lane(instance.queue).instances.pop(instance.id, None)
        self._tasks.pop(instance.id, None)
        self._lives.pop(instance.id, None)
        await self._clearing.clear(managed)
        self.changed.set()
