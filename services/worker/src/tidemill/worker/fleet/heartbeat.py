"""The worker's lease, and what it tells the scheduler about itself."""

import asyncio
import os
import socket
from typing import NamedTuple

from tidemill.contracts import subjects
from tidemill.contracts.events import Capacity, Heartbeat, InstanceState, QueueState
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log
from tidemill.worker import store
from tidemill.worker.gpus.assignments import GpuAssignments
from tidemill.worker.runs.engine import Engine
from tidemill.worker.runs.instance import Instance

HEARTBEAT_S = 1.0
RENEWALS_PER_LEASE = 5  # so that one slow write loses nothing
# So a renewal comes within some three seconds of the return of a database that was away, and of the five that a new
# leader waits before it calls anybody lost.
RENEW_WITHIN_S = 1.5
AGAIN_S = 1.0


class LeaseLost(Exception):  # noqa: N818 - named after the situation
    """The scheduler has given this worker's predictions away: the process must end."""


class Lease:
    """One row, renewed on the database's clock, late if need be. A worker that was called lost ends, and its service
    starts again under a new id.
    """

    def __init__(self, database: Database, worker: str, lease_s: float) -> None:
        self._database = database
        self._connection = database.dedicated_connection(timeout_s=RENEW_WITHIN_S)
        self._worker = worker
        self._lease_s = lease_s

    async def register(self) -> None:
        await self._database.execute(store.REGISTER, self._worker, socket.gethostname(), self._lease_s)

    async def keep(self) -> None:
        """Named task. Raises LeaseLost."""
        every_s = wait_s = self._lease_s / RENEWALS_PER_LEASE
        while True:
            await asyncio.sleep(wait_s)
            try:
                renewed = await self._connection.fetch(store.RENEW, self._worker, self._lease_s)
            except TRANSIENT_ERRORS as error:
                # While the database is away nobody can give the predictions away either.
                log().warning("cannot renew", action="lease", error=str(error))
                wait_s = min(every_s, AGAIN_S)
                continue
            wait_s = every_s
            if not renewed:
                raise LeaseLost(f"the lease of worker {self._worker} ran out, and the scheduler called it lost")

    async def release(self) -> None:
        try:
            await self._database.execute(store.RELEASE, self._worker)
        except TRANSIENT_ERRORS:
            return  # it will run out


class WorkerResources(NamedTuple):
    """What the worker has to give: places, which do not change while it lives, and room on its GPUs."""

    capacity: Capacity
    gpus: GpuAssignments


def offer(instances: int, gpus: GpuAssignments) -> WorkerResources:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    capacity = Capacity(instances=instances, memory_bytes=memory, gpus=gpus.count, gpu_memory_bytes=gpus.memory_bytes)
    return WorkerResources(capacity, gpus)


def state_of(instance: Instance, now: float) -> InstanceState:
    return InstanceState(
        id=instance.id,
        queue=instance.queue,
        state=instance.state,
        slots=instance.concurrency,
        running=len(instance.runs),
        idle_s=0.0 if instance.runs else round(now - instance.idle_since, 3),
        age_s=round(now - instance.born, 3),
        boot_s=round(instance.boot_s, 3),
        run_s=round(instance.run_s, 4),
        busy_s=round(instance.busy_s(now), 3),
        gpus=len(instance.gpus),
        gpu_bytes=instance.gpu_bytes,
        error=instance.error,
    )


def heartbeat(engine: Engine, offered: WorkerResources, host: str) -> Heartbeat:
    """The state of the worker as the scheduler sees it."""
    now = monotonic()
    states = [state_of(instance, now) for instance in engine.instances().values()]
    queues = [QueueState(queue=lane.queue, waiting=lane.waiting) for lane in engine.lanes.values() if lane.instances]
    return Heartbeat(
        worker=engine.worker,
        host=host,
        capacity=offered.capacity,
        instances=states,
        queues=queues,
        draining=engine.draining,
        gpu_free_bytes=offered.gpus.free_bytes(),
    )


async def beat(bus: Bus, engine: Engine, offered: WorkerResources, changed: asyncio.Event) -> None:
    """Named task: tells the scheduler at once when an instance changes, and every HEARTBEAT_S."""
    host = socket.gethostname()
    while True:
        changed.clear()
        if bus.connected:
            await bus.send(subjects.HEARTBEAT, heartbeat(engine, offered, host))
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await changed.wait()
        except TimeoutError:
            continue
