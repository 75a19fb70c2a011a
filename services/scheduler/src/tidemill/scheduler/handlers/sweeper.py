"""Sweeps while this process leads: every second, and at once when a queue is given up or the bus is back.

A sweep that fails on the way is simply done again. What another leader does makes the memory of the last time stale,
so each time of leadership begins with an empty one.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from tidemill.contracts.events import WaitingList, WaitingListRequest
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import TRANSIENT_ERRORS, Database, DedicatedConnection
from tidemill.runtime.leader import Leader
from tidemill.runtime.tasks import set_within
from tidemill.runtime.telemetry import log
from tidemill.scheduler import store
from tidemill.scheduler.config import Config
from tidemill.scheduler.deployed import Deployed
from tidemill.scheduler.handlers.effects import Effects
from tidemill.scheduler.handlers.round import News, QuietS, Round, Seen

STANDBY_LOOK_S: Final = 0.1  # how soon a new leader sweeps; the look costs nothing


class Sweeper:
    def __init__(self, config: Config, database: Database, bus: Bus, leader: Leader, deployed: Deployed) -> None:
        self._config = config
        self._deployed = deployed
        self._database = database
        self._bus = bus
        self._leader = leader
        self._wake = asyncio.Event()
        self._round: Round | None = None
        self._doomed: dict[str, str] = {}
        self._bus_back: float | None = None  # monotonic
        self.quiet_s: QuietS = _never_quiet
        self.warm: Callable[[], Collection[str]] = _never_warm

    def seen(self) -> Seen:
        """What the rows say to the planner, as of the last sweep."""
        return Seen() if self._round is None else self._round.seen

    async def line(self, asked: WaitingListRequest) -> WaitingList | None:
        """Who waits in a queue; nothing while another leads, who answers."""
        return None if self._round is None else self._round.line(asked.queue)

    def live_workers(self) -> frozenset[str]:
        """Those whose lease was alive at the last sweep; empty until there was one."""
        return frozenset() if self._round is None else self._round.workers

    def give_up(self, queue: str, reason: str) -> None:
        """Fails what waits in the queue, at once."""
        self._doomed[queue] = reason
        self._wake.set()

    def given_up(self) -> frozenset[str]:
        """Return the queues of which what waits has not been failed yet."""
        return frozenset(self._doomed)

    async def bus_is_back(self) -> None:
        """Hints from before may be gone: all that nobody has claimed get another."""
        self._bus_back = monotonic()
        self._wake.set()

    async def run(self) -> None:
        stretches = self._database.dedicated_connection(settings=store.STRETCH_SETTINGS)
        async with asyncio.TaskGroup() as announcing:
            effects = Effects(self._database.dedicated_connection(), self._bus, announcing)
            while True:
                try:
                    await self._turn(stretches, effects)
                except TRANSIENT_ERRORS as error:
                    log().warning("database away", action="retry", what="sweep", error=str(error))
                    if self._round is not None:
                        self._round.be_patient()
                await self._woken()

    async def _woken(self) -> None:
        await set_within(self._wake, self._config.sweep_s if self._leader.held else STANDBY_LOOK_S)
        self._wake.clear()

    async def _turn(self, stretches: DedicatedConnection, effects: Effects) -> None:
        if not self._leader.held:
            if self._round is not None:
                self._round.leave()
            self._round = None
            self._doomed.clear()
            return
        if self._round is None:
            clock = await store.clock(effects.connection)
            reached = await store.reached(self._database, clock.now)
            self._round = Round(self._config, stretches, effects, self.quiet_s, reached)
        doomed, bus_back = dict(self._doomed), self._bus_back
        bus_back_s = None if bus_back is None else monotonic() - bus_back
        await self._round.sweep(News(doomed, bus_back_s, self._deployed.closed_queues(), self.warm()))
        self._doomed = {queue: why for queue, why in self._doomed.items() if doomed.get(queue) != why}
        self._bus_back = None if self._bus_back == bus_back else self._bus_back


def _never_quiet(_queue: str, _now: float) -> float:
    return 0.0


def _never_warm() -> Collection[str]:
    return ()
