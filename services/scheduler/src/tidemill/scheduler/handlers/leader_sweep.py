"""The sweep during one period of leadership: scans new predictions, checks open ones again, applies decisions.

Reads rows in the order of acceptance and passes each to `sweep_decisions.decide`. A new period begins with empty
memory.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

from prometheus_client import Gauge

from tidemill.contracts.events import WaitingList
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import DedicatedConnection
from tidemill.runtime.scan import advance_watermark
from tidemill.scheduler import store
from tidemill.scheduler.backlogs import Backlog
from tidemill.scheduler.config import Config
from tidemill.scheduler.handlers.effects import Effects
from tidemill.scheduler.load_report import build_load_report
from tidemill.scheduler.placement import WaitingCounts
from tidemill.scheduler.scan_windows import ScanWindows
from tidemill.scheduler.sweep_decisions import (
    Decision,
    EndPrediction,
    NextAttempt,
    OpenPrediction,
    ResendHint,
    SweepContext,
    SweepRules,
    decide,
)
from tidemill.scheduler.tracked_predictions import TrackedPredictions

CHECKS_PER_SWEEP: Final = 5000  # rows read again in one sweep: about 50 ms of the database
CHECKS_PER_WARM_QUEUE: Final = 10  # of each warm queue, every second: whether the longest waiting still wait
CHECKS_OF_WARM_QUEUES: Final = 1000  # of all such queues together
WINDOWS_PER_SWEEP: Final = 10  # of the backlog after an outage, so that fresh rows are still read every second
SAVE_WATERMARK_EVERY_S: Final = 10.0  # bounds what is read again after a crash, and what is not summarized
WAITING_LIST_LIMIT: Final = 2_000  # ids in one waiting list; a position beyond that helps nobody
DATABASE_SLOW_AFTER_S: Final = 1.0  # a database that takes longer to return its time was unavailable, for workers too
JUST_BEFORE_S: Final = 0.001  # a window excludes its start: the oldest open row must be in the next one

OPEN: Final = Gauge("tidemill_scheduler_open_predictions", "Open predictions that the sweep watches")
WAITING: Final = Gauge("tidemill_scheduler_waiting_predictions", "Open predictions that nobody has claimed")
LONGEST_WAIT: Final = Gauge(
    "tidemill_scheduler_longest_wait_seconds", "Since when the oldest of them has been accepted"
)

QuietS = Callable[[str, float], float]  # (queue, monotonic time) → seconds without waiting hints


class SweepInput(NamedTuple):
    """What happened since the last sweep.

    `failing`: queues whose waiting predictions must fail, with the reason. `bus_back_s`: how long ago the bus
    reconnected. `disabled`: queues of disabled deployments. `warm`: queues whose instances have been ready long enough
    to take what waited for the boot.
    """

    failing: Mapping[str, str]
    bus_back_s: float | None = None
    disabled: frozenset[str] = frozenset()
    warm: Collection[str] = ()


class SweepSnapshot(NamedTuple):
    """Result of the last sweep for the planner. `backlogs`: what waited in warm queues at `at` (monotonic)."""

    waiting: WaitingCounts = WaitingCounts()
    backlogs: Mapping[str, Backlog] = {}
    at: float = 0.0


class LeaderSweep:
    """`scanning` is a connection with the settings that the scan needs."""

    def __init__(
        self, config: Config, scanning: DedicatedConnection, effects: Effects, quiet_s: QuietS, watermark: float
    ) -> None:
        self.tracked = TrackedPredictions(late_after_s=config.late_after_s)
        self._rules = SweepRules(
            republish_after_s=config.republish_after_s,
            republish_limit_s=config.republish_limit_s,
            time_limit_s=config.time_limit_s,
        )
        self._connection = effects.connection
        self._scan_connection = scanning
        self._effects = effects
        self._quiet_s = quiet_s
        self._windows = ScanWindows(watermark)
        self.workers: frozenset[str] = frozenset()  # with a live lease, as of the last sweep
        self.snapshot = SweepSnapshot()
        self._waiting_lists: dict[str, list[str]] | None = None
        self._seen_until: float | None = None
        self._bus_back_at = 0.0
        self._watermark_saved_at = 0.0
        self._lease_grace_s = config.lease_grace_s
        self.delay_lost_workers()

    def waiting_list(self, queue: str) -> WaitingList | None:
        """Return the waiting list of a queue as of the last sweep, or None before the first. Built on demand for all
        queues.
        """
        if self._seen_until is None:
            return None
        if self._waiting_lists is None:
            self._waiting_lists = self.tracked.waiting_lists()
        ids = self._waiting_lists.get(queue, [])
        whole = len(ids) <= WAITING_LIST_LIMIT
        return WaitingList(ids=ids[:WAITING_LIST_LIMIT], until=self._seen_until, whole=whole)

    def reset_gauges(self) -> None:
        """Reset the gauges: the new leader reports them."""
        for gauge in (OPEN, WAITING, LONGEST_WAIT):
            gauge.set(0)

    def delay_lost_workers(self) -> None:
        """Mark no worker as lost for a while: the database may have been unavailable, and workers must renew their
        leases.
        """
        self._no_lost_workers_until = monotonic() + self._lease_grace_s

    async def sweep(self, news: SweepInput) -> None:
        asked = monotonic()
        clock = await store.clock(self._connection)
        started = monotonic()
        self.workers = clock.workers
        if started - asked > DATABASE_SLOW_AFTER_S:
            self.delay_lost_workers()
        if started >= self._no_lost_workers_until:
            await self._effects.mark_lost_workers(clock.now)
        if news.bus_back_s is not None:
            self._bus_back_at = clock.now - news.bus_back_s
        await self._scan_fresh(clock.now, news)
        await self._check_again(clock, news)
        await self._scan_settled(clock.now, news)
        await self._save_watermark(clock.now)
        self._waiting_lists, self._seen_until = None, self._windows.seen_until()
        self.snapshot = self._summary(asked, clock.now, news)
        OPEN.set(len(self.tracked))
        await self._send_load_report(clock.now, monotonic() - started)

    async def _scan_fresh(self, now: float, news: SweepInput) -> None:
        window = self._windows.next_fresh(now)
        if window is not None:
            await self._apply_decisions(await store.open_in(self._scan_connection, window), now, news)

    async def _scan_settled(self, now: float, news: SweepInput) -> None:
        self._windows.advance(now)
        for _ in range(WINDOWS_PER_SWEEP):
            window = self._windows.next_settled()
            if window is None:
                return
            await self._apply_decisions(await store.open_in(self._scan_connection, window), now, news)
            self._windows.read(window)

    async def _check_again(self, clock: store.Clock, news: SweepInput) -> None:
        wanted = {
            *self.tracked.due(clock.now, CHECKS_PER_SWEEP),
            *self.tracked.held_by_lost_workers(clock.workers),
            *self.tracked.waiting_in(news.failing),
            *self.tracked.open_in(news.disabled),
            *self.tracked.longest_waiting(news.warm, CHECKS_PER_WARM_QUEUE, CHECKS_OF_WARM_QUEUES),
            *(self.tracked.unclaimed() if news.bus_back_s is not None else ()),
        }
        if wanted:
            rows = await store.open_again(self._connection, list(wanted))
            self.tracked.drop(wanted - {row.id for row in rows})
            await self._apply_decisions(rows, clock.now, news)

    def _summary(self, asked: float, now: float, news: SweepInput) -> SweepSnapshot:
        backlogs = self.tracked.backlogs(news.warm, now)
        late = {queue: each.late for queue, each in backlogs.items()}
        return SweepSnapshot(WaitingCounts(rows=self.tracked.waiting().rows, late=late), backlogs, asked)

    async def _apply_decisions(self, rows: Sequence[OpenPrediction], now: float, news: SweepInput) -> None:
        decided = [(row, self._decide(row, now, news)) for row in self.tracked.update(rows, now)]
        ends = [(row, decision) for row, decision in decided if isinstance(decision, EndPrediction)]
        await self._effects.end(ends, now)
        self.tracked.drop(row.id for row, _ in ends)
        lost = [row for row, decision in decided if isinstance(decision, NextAttempt)]
        await self._effects.start_next_attempts(lost)
        unhinted = [row.id for row, decision in decided if isinstance(decision, ResendHint)]
        await self._effects.send_hints(unhinted)
        for prediction in unhinted:
            self.tracked.record_hint(prediction, now)

    def _decide(self, row: OpenPrediction, now: float, news: SweepInput) -> Decision:
        seen = SweepContext(
            now=now,
            quiet_s=self._quiet_s(row.queue, monotonic()),
            bus_back_at=self._bus_back_at,
            boot_error=news.failing.get(row.queue),
            disabled=row.queue in news.disabled,
        )
        return decide(row, self.tracked.sent_hints(row.id), seen, self._rules)

    async def _send_load_report(self, now: float, took_s: float) -> None:
        behind_s = now - self._windows.seen_until() + took_s
        load = build_load_report(self.tracked.rows(), now, behind_s)
        WAITING.set(sum(queue.waiting for queue in load.queues))
        LONGEST_WAIT.set(max((now - queue.oldest_at for queue in load.queues), default=0.0))
        await self._effects.send_load_report(load)

    async def _save_watermark(self, now: float) -> None:
        if now - self._watermark_saved_at >= SAVE_WATERMARK_EVERY_S:
            oldest = self.tracked.oldest_accepted_at()
            watermark = self._windows.watermark()
            if oldest is not None:
                watermark = min(watermark, oldest - JUST_BEFORE_S)
            await advance_watermark(self._connection, store.SCAN, watermark)
            self._watermark_saved_at = now
            await store.summarize(self._scan_connection)
