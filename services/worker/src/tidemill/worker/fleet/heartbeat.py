"""The heartbeat: what this worker tells the scheduler about its instances, its queues and its free resources."""

import asyncio
import os
import socket
from typing import NamedTuple

from tidemill.contracts import subjects
from tidemill.contracts.events import Capacity, Heartbeat, InstanceState, QueueState
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import monotonic
from tidemill.worker.gpus.assignments import GpuAssignments
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.run_table import RunTable

HEARTBEAT_S = 1.0


class WorkerResources(NamedTuple):
    """`capacity` does not change while the worker lives; the free memory of its `gpus` does."""

    capacity: Capacity
    gpus: GpuAssignments


def measure_resources(instances: int, gpus: GpuAssignments) -> WorkerResources:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    capacity = Capacity(instances=instances, memory_bytes=memory, gpus=gpus.count, gpu_memory_bytes=gpus.memory_bytes)
    return WorkerResources(capacity, gpus)


def instance_state(instance: Instance, now: float) -> InstanceState:
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


def heartbeat(table: RunTable, resources: WorkerResources, host: str) -> Heartbeat:
    now = monotonic()
    states = [instance_state(instance, now) for instance in table.instances().values()]
    queues = [QueueState(queue=queue.name, waiting=queue.waiting) for queue in table.queues_with_instances()]
    return Heartbeat(
        worker=table.worker,
        host=host,
        capacity=resources.capacity,
        instances=states,
        queues=queues,
        draining=table.is_draining,
        gpu_free_bytes=resources.gpus.free_bytes(),
    )


async def send_heartbeats(bus: Bus, table: RunTable, resources: WorkerResources, changed: asyncio.Event) -> None:
    """Named task: sends a heartbeat every HEARTBEAT_S, and at once when an instance has changed."""
    host = socket.gethostname()
    while True:
        changed.clear()
        if bus.connected:
            await bus.send(subjects.HEARTBEAT, heartbeat(table, resources, host))
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await changed.wait()
        except TimeoutError:
            continue
