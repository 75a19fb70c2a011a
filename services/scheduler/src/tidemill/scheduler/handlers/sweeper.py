"""Runs the sweep while this process leads: every second, and at once when a queue cannot boot or the bus reconnects.

A sweep that fails is repeated. Another leader makes this process's memory stale, so each period of leadership begins
with a new LeaderSweep.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from tidemill.contracts.events import WaitingList, WaitingListRequest
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import TRANSIENT_ERRORS, Database, DedicatedConnection
from tidemill.runtime.leader import Leader
from tidemill.runtime.scan import find_watermark
from tidemill.runtime.tasks import set_within
from tidemill.runtime.telemetry import log
from tidemill.scheduler import store
from tidemill.scheduler.config import Config
from tidemill.scheduler.deployment_policies import DeploymentPolicies
from tidemill.scheduler.handlers.effects import Effects
from tidemill.scheduler.handlers.leader_sweep import LeaderSweep, QuietS, SweepInput, SweepSnapshot

STANDBY_POLL_S: Final = 0.1  # how soon a new leader sweeps; the check costs nothing


class Sweeper:
    def __init__(
        self, config: Config, database: Database, bus: Bus, leader: Leader, policies: DeploymentPolicies
    ) -> None:
        self._config = config
        self._policies = policies
        self._database = database
        self._bus = bus
        self._leader = leader
        self._wake = asyncio.Event()
        self._sweep: LeaderSweep | None = None
        self._failing: dict[str, str] = {}
        self._bus_back: float | None = None  # monotonic
        self.quiet_s: QuietS = _never_quiet
        self.warm: Callable[[], Collection[str]] = _never_warm

    def snapshot(self) -> SweepSnapshot:
        """Return the result of the last sweep for the planner."""
        return SweepSnapshot() if self._sweep is None else self._sweep.snapshot

    async def waiting_list(self, request: WaitingListRequest) -> WaitingList | None:
        """Return the waiting list of a queue, or None if this process does not lead: the leader replies."""
        return None if self._sweep is None else self._sweep.waiting_list(request.queue)

    def live_workers(self) -> frozenset[str]:
        """Return the workers with a live lease at the last sweep; empty before the first."""
        return frozenset() if self._sweep is None else self._sweep.workers

    def fail_waiting(self, queue: str, reason: str) -> None:
        """Fail the waiting predictions of the queue at the next sweep, which starts at once."""
        self._failing[queue] = reason
        self._wake.set()

    def failing_queues(self) -> frozenset[str]:
        """Return the queues whose waiting predictions are still to be failed."""
        return frozenset(self._failing)

    async def on_bus_reconnected(self) -> None:
        """Send new hints for all unclaimed predictions: earlier ones may be lost."""
        self._bus_back = monotonic()
        self._wake.set()

    async def run(self) -> None:
        scanning = self._database.dedicated_connection(settings=store.SCAN_SETTINGS)
        async with asyncio.TaskGroup() as announcing:
            effects = Effects(self._database.dedicated_connection(), self._bus, announcing)
            while True:
                try:
                    await self._sweep_once(scanning, effects)
                except TRANSIENT_ERRORS as error:
                    log().warning("database unavailable", action="retry", what="sweep", error=str(error))
                    if self._sweep is not None:
                        self._sweep.delay_lost_workers()
                await self._wait_for_work()

    async def _wait_for_work(self) -> None:
        await set_within(self._wake, self._config.sweep_s if self._leader.held else STANDBY_POLL_S)
        self._wake.clear()

    async def _sweep_once(self, scanning: DedicatedConnection, effects: Effects) -> None:
        if not self._leader.held:
            if self._sweep is not None:
                self._sweep.reset_gauges()
            self._sweep = None
            self._failing.clear()
            return
        if self._sweep is None:
            watermark = await find_watermark(self._database, store.SCAN)
            self._sweep = LeaderSweep(self._config, scanning, effects, self.quiet_s, watermark)
        failing, bus_back = dict(self._failing), self._bus_back
        bus_back_s = None if bus_back is None else monotonic() - bus_back
        await self._sweep.sweep(SweepInput(failing, bus_back_s, self._policies.disabled_queues(), self.warm()))
        self._failing = {queue: why for queue, why in self._failing.items() if failing.get(queue) != why}
        self._bus_back = None if self._bus_back == bus_back else self._bus_back


def _never_quiet(_queue: str, _now: float) -> float:
    return 0.0


def _never_warm() -> Collection[str]:
    return ()
