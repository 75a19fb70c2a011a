"""The instance manager: owns every instance of this worker, from its boot to the end of its process."""

import asyncio
from typing import Final

from prometheus_client import Counter

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
from tidemill.worker.runs.run_table import RunTable

FAILED_SHOWN_S: Final = 15.0  # a failed instance stays in the heartbeat so that the scheduler learns why
ERROR_LIMIT_CHARS: Final = 2000  # of the error that the heartbeat carries
BOOT_ERRORS: Final = (
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
    """`capacity` instances at most. `changed` is set whenever an instance changes its state."""

    def __init__(
        self,
        table: RunTable,
        engine: Engine,
        booter: Booter,
        cleanup: Cleanup,
        records: BootRecords,
        *,
        capacity: int,
        timeout_s: float,
    ) -> None:
        self._table = table
        self._engine = engine
        self._booter = booter
        self._cleanup = cleanup
        self._records = records
        self._capacity = capacity
        self._timeout_s = timeout_s
        self._crash_history = CrashHistory()
        self._managed: dict[str, ManagedInstance] = {}
        self._running = Tasks()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.changed = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """An instance that failed to boot takes no place, though it is still shown."""
        return sum(one.state != "failed" for one in self._table.instances().values()) >= self._capacity

    def boot(self, instance_id: str, queue: str) -> None:
        instance = Instance(instance_id, queue, monotonic())
        self._table.queue(queue).instances[instance.id] = instance
        managed = self._managed[instance.id] = ManagedInstance(instance)
        self._tasks[instance.id] = self._running.start(self._run(managed), f"instance {instance.id}")

    def stop(self, instance: Instance) -> None:
        """End a boot at once. An instance that is ready finishes what it runs first."""
        if instance.state == "ready":
            instance.drain()
        elif instance.state == "booting":
            self._tasks[instance.id].cancel()

    def stop_queue(self, queue: str) -> None:
        for instance in self._table.instances().values():
            if instance.queue == queue:
                self.stop(instance)

    def environments_in_use(self) -> frozenset[str]:
        """Return the digests of the environments that instances run or boot in."""
        return frozenset(one.environment for one in self._managed.values() if one.environment is not None)

    def booting(self) -> list[ManagedInstance]:
        return [one for one in self._managed.values() if one.instance.state == "booting"]

    async def close(self) -> None:
        """Kill all processes. Return when they are gone, and their files with them."""
        for managed in self._managed.values():
            managed.kill()
        for task in list(self._tasks.values()):
            task.cancel()
        await self._running.finished()  # also those that clean up already

    async def _run(self, managed: ManagedInstance) -> None:
        """Boot one instance, wait for its end, and clean up."""
        self.changed.set()
        try:
            await asyncio.sleep(self._crash_history.backoff_s(managed.instance.queue, monotonic()))
            async with asyncio.timeout(self._timeout_s):
                connection = await self._booter.boot(managed)
        except BOOT_ERRORS as error:
            managed.kill()
            late = f"it took longer than {self._timeout_s:g} s"
            await self._show_failure(managed, str(error) or managed.with_boot_log(late))
        except asyncio.CancelledError:
            managed.kill()
            raise
        else:
            await self._serve(managed, connection)
        finally:
            await self._end(managed)

    async def _serve(self, managed: ManagedInstance, connection: ChildConnection) -> None:
        """Return when the instance's process has ended."""
        instance = managed.instance
        self._engine.on_ready(instance)
        self.changed.set()
        await self._records.record_boot(instance, managed.boot_log)
        # Awaited directly, the future would be canceled with this task, before the child has ended.
        await asyncio.wait([connection.ended])
        crash = connection.crash
        has_crashed = crash is not None
        self._crash_history.record_end(instance.queue, monotonic(), crashed=has_crashed, finished=instance.finished)
        if crash is not None:
            CRASHES.labels(crash.code).inc()
            log().warning("crashed", action="crash", instance=instance.id, queue=instance.queue, error=crash.error)
            await self._records.record_crash(instance, crash)

    async def _show_failure(self, managed: ManagedInstance, error: str) -> None:
        """Keep the failed instance in the heartbeat for a while. Its GPUs are released before."""
        instance = managed.instance
        boot_phases.FAILURES.inc()
        log().warning("boot failed", action="boot", instance=instance.id, queue=instance.queue, error=error)
        instance.state, instance.error = "failed", error[:ERROR_LIMIT_CHARS]
        self._table.queue(instance.queue).instances[instance.id] = instance  # on_exit() may have removed it
        self.changed.set()
        await self._records.record_boot(instance, managed.boot_log)
        await self._cleanup.release_gpus(managed)
        await asyncio.sleep(FAILED_SHOWN_S)

    async def _end(self, managed: ManagedInstance) -> None:
        instance = managed.instance
        self._table.queue(instance.queue).instances.pop(instance.id, None)
        self._tasks.pop(instance.id, None)
        self._managed.pop(instance.id, None)
        await self._cleanup.clean_up(managed)
        self.changed.set()
