"""The worker's lease, and what it tells the scheduler about itself."""

import asyncio
import os
import socket

from tidemill.contracts import subjects
from tidemill.contracts.events import Capacity, Heartbeat, InstanceState, QueueState
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import AWAY, Database
from tidemill.runtime.telemetry import log
from tidemill.worker import store
from tidemill.worker.gpus.assignments import GpuAssignments
from tidemill.worker.runs.engine import Engine

HEARTBEAT_S = 1.0
RENEWALS_PER_LEASE = 5  # so that one slow write loses nothing


class LeaseLost(Exception):  # noqa: N818 - named after the situation
    """The scheduler may have given this worker's predictions away: the process must end."""


class Lease:
    """One row, renewed on the database's clock. Losing it ends the service, which starts again under a new id."""

    def __init__(self, database: Database, worker: str, lease_s: float) -> None:
        self._database = database
        self._worker = worker
        self._lease_s = lease_s

    async def register(self) -> None:
        await self._database.execute(store.REGISTER, self._worker, socket.gethostname(), self._lease_s)

    async def keep(self) -> None:
        """Named task. Raises LeaseLost."""
        while True:
            await asyncio.sleep(self._lease_s / RENEWALS_PER_LEASE)
            try:
                renewed = await self._database.value(store.RENEW, self._worker, self._lease_s)
            except AWAY as error:
                # While the database is away nobody can give the predictions away either.
                log().warning("cannot renew", action="lease", error=str(error))
                continue
            if renewed is None:
                raise LeaseLost(f"the lease of worker {self._worker} ran out")

    async def release(self) -> None:
        try:
            await self._database.execute(store.RELEASE, self._worker)
        except AWAY:
            return  # it will run out


def capacity(instances: int, gpus: GpuAssignments) -> Capacity:
    """What the worker offers; it does not change while it lives."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Capacity(instances=instances, memory_bytes=memory, gpus=gpus.count, gpu_memory_bytes=gpus.memory_bytes)


def heartbeat(engine: Engine, offered: Capacity, host: str) -> Heartbeat:
    """The state of the worker as the scheduler sees it."""
    now = monotonic()
    states = [
        InstanceState(
            id=instance.id,
            queue=instance.queue,
            state=instance.state,
            slots=instance.concurrency,
            running=len(instance.runs),
            idle_s=0.0 if instance.runs else round(now - instance.idle_since, 3),
            age_s=round(now - instance.born, 3),
            error=instance.error,
        )
        for instance in engine.instances().values()
    ]
    queues = [QueueState(queue=lane.queue, waiting=lane.waiting) for lane in engine.lanes.values() if lane.instances]
    return Heartbeat(
        worker=engine.worker,
        host=host,
        capacity=offered,
        instances=states,
        queues=queues,
        draining=engine.draining,
    )


async def beat(bus: Bus, engine: Engine, offered: Capacity, changed: asyncio.Event) -> None:
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
