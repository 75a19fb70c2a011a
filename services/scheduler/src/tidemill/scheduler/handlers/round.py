"""One time of leadership of the sweep: which rows have been read, which are watched, and one round after another.

Reads in the order of acceptance what is new, and again what is open; has `sweep.decide` say what to do.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

from prometheus_client import Gauge

from tidemill.contracts.events import WaitingList
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import DedicatedConnection
from tidemill.scheduler import store
from tidemill.scheduler.backlogs import Kept
from tidemill.scheduler.config import Config
from tidemill.scheduler.handlers.effects import Effects
from tidemill.scheduler.load import load_of
from tidemill.scheduler.placement import Waiting
from tidemill.scheduler.stretches import Stretches
from tidemill.scheduler.sweep import Circumstances, Decision, End, NextAttempt, Republish, Row, Rules, decide
from tidemill.scheduler.watch import Watch

LOOKS_PER_SWEEP: Final = 5000  # rows looked at again in one sweep: some 50 ms of the database
LOOKS_PER_QUEUE: Final = 10  # that is warm, each second: whether those that wait there for longest still do
LOOKS_AT_WARM: Final = 1000  # of all such queues together
SLICES_PER_SWEEP: Final = 10  # of the backlog after an outage, so that what is fresh is read every second all the same
REACH_EVERY_S: Final = 10.0  # how much is read again after a crash, and how much lies unsummarized
LINE_LIMIT: Final = 2_000  # of a line that is told; whoever is further back has other worries than the number
ANSWERS_WITHIN_S: Final = 1.0  # a database that takes longer to tell the time was away, and for workers too
JUST_BEFORE_S: Final = 0.001  # a stretch begins after its start: the oldest open row must be in the next one

OPEN: Final = Gauge("tidemill_scheduler_open_predictions", "Open predictions that the sweep watches")
WAITING: Final = Gauge("tidemill_scheduler_waiting_predictions", "Open predictions that nobody has claimed")
LONGEST_WAIT: Final = Gauge(
    "tidemill_scheduler_longest_wait_seconds", "Since when the oldest of them has been accepted"
)

QuietS = Callable[[str, float], float]  # a queue and a monotonic moment: since when it has had no hints waiting


class News(NamedTuple):
    """Since the last round: queues given up, with the reason, and how long ago the bus came back.

    `closed`: queues of disabled deployments; `warm`: queues with instances that have had time to take what waited.
    """

    doomed: Mapping[str, str]
    bus_back_s: float | None = None
    closed: frozenset[str] = frozenset()
    warm: Collection[str] = ()


class Seen(NamedTuple):
    """What the last sweep says to the planner; `kept`: what it found waiting in warm queues at `at`, monotonic."""

    waiting: Waiting = Waiting()
    kept: Mapping[str, Kept] = {}
    at: float = 0.0


class Round:
    """`stretches` is a connection with the settings that reading stretches needs."""

    def __init__(
        self, config: Config, stretches: DedicatedConnection, effects: Effects, quiet_s: QuietS, reached: float
    ) -> None:
        self.watch = Watch(late_after_s=config.late_after_s)
        self._rules = Rules(
            republish_after_s=config.republish_after_s,
            republish_limit_s=config.republish_limit_s,
            time_limit_s=config.time_limit_s,
        )
        self._connection = effects.connection
        self._stretch_connection = stretches
        self._effects = effects
        self._quiet_s = quiet_s
        self._stretches = Stretches(reached)
        self.workers: frozenset[str] = frozenset()  # with a lease, as of the last sweep
        self.seen = Seen()
        self._lines: dict[str, list[str]] | None = None
        self._seen_until: float | None = None
        self._bus_back_at = 0.0
        self._reach_saved_at = 0.0
        self._lease_grace_s = config.lease_grace_s
        self.be_patient()

    def line(self, queue: str) -> WaitingList | None:
        """Who waits in a queue, as of the last sweep; nothing before the first. Made when asked, for all queues."""
        if self._seen_until is None:
            return None
        if self._lines is None:
            self._lines = self.watch.lines()
        ids = self._lines.get(queue, [])
        whole = len(ids) <= LINE_LIMIT
        return WaitingList(ids=ids[:LINE_LIMIT], until=self._seen_until, whole=whole)

    def leave(self) -> None:
        """Another leads: its metrics say how things stand."""
        for gauge in (OPEN, WAITING, LONGEST_WAIT):
            gauge.set(0)

    def be_patient(self) -> None:
        """The database may have been away: workers whose lease ran out meanwhile are still to renew it."""
        self._patient_until = monotonic() + self._lease_grace_s

    async def sweep(self, news: News) -> None:
        asked = monotonic()
        clock = await store.clock(self._connection)
        started = monotonic()
        self.workers = clock.workers
        if started - asked > ANSWERS_WITHIN_S:
            self.be_patient()
        if started >= self._patient_until:
            await self._effects.lose_workers(clock.now)
        if news.bus_back_s is not None:
            self._bus_back_at = clock.now - news.bus_back_s
        await self._read_fresh(clock.now, news)
        await self._look_again(clock, news)
        await self._read_settled(clock.now, news)
        await self._save_reach(clock.now)
        self._lines, self._seen_until = None, self._stretches.seen_until()
        self.seen = self._summary(asked, clock.now, news)
        OPEN.set(len(self.watch))
        await self._tell_load(clock.now, monotonic() - started)

    async def _read_fresh(self, now: float, news: News) -> None:
        stretch = self._stretches.next_fresh(now)
        if stretch is not None:
            await self._judge(await store.open_in(self._stretch_connection, stretch), now, news)

    async def _read_settled(self, now: float, news: News) -> None:
        self._stretches.advance(now)
        for _ in range(SLICES_PER_SWEEP):
            stretch = self._stretches.next_settled()
            if stretch is None:
                return
            await self._judge(await store.open_in(self._stretch_connection, stretch), now, news)
            self._stretches.read(stretch)

    async def _look_again(self, clock: store.Clock, news: News) -> None:
        wanted = {
            *self.watch.due(clock.now, LOOKS_PER_SWEEP),
            *self.watch.held_by_others(clock.workers),
            *self.watch.waiting_in(news.doomed),
            *self.watch.open_in(news.closed),
            *self.watch.longest_waiting(news.warm, LOOKS_PER_QUEUE, LOOKS_AT_WARM),
            *(self.watch.unclaimed() if news.bus_back_s is not None else ()),
        }
        if wanted:
            rows = await store.open_again(self._connection, list(wanted))
            self.watch.drop(wanted - {row.id for row in rows})
            await self._judge(rows, clock.now, news)

    def _summary(self, asked: float, now: float, news: News) -> Seen:
        kept = self.watch.kept(news.warm, now)
        late = {queue: each.late for queue, each in kept.items()}
        return Seen(Waiting(rows=self.watch.waiting().rows, late=late), kept, asked)

    async def _judge(self, rows: Sequence[Row], now: float, news: News) -> None:
        decided = [(row, self._decision(row, now, news)) for row in self.watch.saw(rows, now)]
        ends = [(row, decision) for row, decision in decided if isinstance(decision, End)]
        await self._effects.end(ends, now)
        self.watch.drop(row.id for row, _ in ends)
        lost = [row for row, decision in decided if isinstance(decision, NextAttempt)]
        await self._effects.next_attempts(lost)
        unheard = [row.id for row, decision in decided if isinstance(decision, Republish)]
        await self._effects.hint(unheard)
        for prediction in unheard:
            self.watch.hinted(prediction, now)

    def _decision(self, row: Row, now: float, news: News) -> Decision:
        seen = Circumstances(
            now=now,
            quiet_s=self._quiet_s(row.queue, monotonic()),
            bus_back_at=self._bus_back_at,
            doomed=news.doomed.get(row.queue),
            closed=row.queue in news.closed,
        )
        return decide(row, self.watch.hints(row.id), seen, self._rules)

    async def _tell_load(self, now: float, took_s: float) -> None:
        behind_s = now - self._stretches.seen_until() + took_s
        load = load_of(self.watch.rows(), now, behind_s)
        WAITING.set(sum(queue.waiting for queue in load.queues))
        LONGEST_WAIT.set(max((now - queue.oldest_at for queue in load.queues), default=0.0))
        await self._effects.tell_load(load)

    async def _save_reach(self, now: float) -> None:
        if now - self._reach_saved_at >= REACH_EVERY_S:
            oldest = self.watch.oldest_accepted_at()
            reached = self._stretches.reached()
            await store.reach(self._connection, reached if oldest is None else min(reached, oldest - JUST_BEFORE_S))
            self._reach_saved_at = now
            await store.summarize(self._stretch_connection)
