"""Assigns this worker's GPUs to instances, from before the fork until the process has gone.

An instance waits here until devices have room; idle instances are stopped for it. `choice.decide` makes the decision.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from prometheus_client import Gauge

from tidemill.runtime.telemetry import log
from tidemill.worker.gpus import choice
from tidemill.worker.gpus.choice import Evict, GpuGrant, GpuRequest, GrantHolder, Never
from tidemill.worker.gpus.devices import Gpus

# While an instance waits. A release here wakes it at once; the end of another program's process is seen only so.
CHECK_EVERY_S: Final = 0.5
OBSERVE_EVERY_S: Final = 10.0  # for the metrics
MEMORY: Final = Gauge(
    "tidemill_worker_gpu_memory_bytes", "GPU memory by device: total, reserved or used", ["device", "kind"]
)


class NoSuchGpu(Exception):  # noqa: N818 - named after the situation
    """The worker can never give the instance its GPUs; the message says what is missing."""


class GpuAssignments:
    """`idle_s` returns for how long an instance has been idle, or None while it must not stop. `stop` drains one."""

    def __init__(self, gpus_here: Gpus, *, idle_s: Callable[[str], float | None], stop: Callable[[str], None]) -> None:
        self._gpus = gpus_here
        self._idle_s = idle_s
        self._stop = stop
        self._grants: dict[str, GpuGrant] = {}
        self._ending: set[str] = set()
        self._lock = asyncio.Lock()  # one instance at a time looks for room, first come first served
        self._released = asyncio.Event()

    async def assign(self, instance: str, wanted: GpuRequest) -> GpuGrant:
        """Wait for devices and reserve them until `release(instance)`. Raise NoSuchGpu. The caller limits the wait."""
        if not wanted.devices or not self._gpus.devices:
            return GpuGrant()
        async with self._lock:
            while True:
                self._released.clear()
                decision = choice.decide(wanted, self._gpus.devices, self._holders(), await self._used())
                if isinstance(decision, GpuGrant):
                    self._grants[instance] = decision
                    return decision
                if isinstance(decision, Never):
                    raise NoSuchGpu(decision.reason)
                if isinstance(decision, Evict):
                    self._make_room(decision, instance)
                await self._wait_for_change()

    def _make_room(self, decision: Evict, instance: str) -> None:
        for idle in decision.instances:
            log().info("making room on a GPU", action="gpu", instance=idle, wanted_by=instance)
            self._ending.add(idle)
            self._stop(idle)

    async def _wait_for_change(self) -> None:
        try:
            async with asyncio.timeout(CHECK_EVERY_S):
                await self._released.wait()
        except TimeoutError:
            return

    async def _used(self) -> dict[str, int]:
        return await asyncio.to_thread(self._gpus.used)

    def _holders(self) -> list[GrantHolder]:
        return [
            GrantHolder(instance, grant, self._idle_s(instance), instance in self._ending)
            for instance, grant in self._grants.items()
        ]

    def release(self, instance: str) -> None:
        """Release the grant after the process has gone. An instance without a grant is ignored."""
        self._ending.discard(instance)
        if self._grants.pop(instance, None) is not None:
            self._released.set()

    @property
    def count(self) -> int:
        return len(self._gpus.devices)

    @property
    def memory_bytes(self) -> int:
        return sum(device.memory_bytes for device in self._gpus.devices)

    def free_bytes(self) -> list[int]:
        """Return the unreserved memory of each device."""
        held = self._grants.values()
        return [device.memory_bytes - sum(grant.on(device) for grant in held) for device in self._gpus.devices]

    async def observe(self) -> None:
        """Named task: keeps the metrics up to date."""
        while True:
            used = await self._used() if self._gpus.devices else {}
            for device in self._gpus.devices:
                reserved = sum(grant.on(device) for grant in self._grants.values())
                MEMORY.labels(device.uuid, "total").set(device.memory_bytes)
                MEMORY.labels(device.uuid, "reserved").set(reserved)
                MEMORY.labels(device.uuid, "used").set(used[device.uuid])
            await asyncio.sleep(OBSERVE_EVERY_S)
