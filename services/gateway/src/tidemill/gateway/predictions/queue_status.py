"""Adds the queue position and the reason of the wait to responses with waiting predictions.

Clients that poll the same queue within a second share one request to the scheduler and one query. The members are
left out if the scheduler does not reply within REPLY_TIMEOUT_S or the database is down.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from tidemill.contracts import subjects
from tidemill.contracts.api.predictions import Prediction, WaitingFor
from tidemill.contracts.events import WaitingList, WaitingListRequest, WarmQueues
from tidemill.contracts.prediction import Status
from tidemill.gateway import stores
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import monotonic, now, rfc3339
from tidemill.runtime.db import TRANSIENT_ERRORS, Database, Row
from tidemill.runtime.tasks import Tasks

POSITIONS_TTL_S: Final = 1.0
BOOT_TTL_S: Final = 1.0  # workers write the output of a set-up as often
REPLY_TIMEOUT_S: Final = 0.25  # the leading scheduler replies within a millisecond
QUEUES_LIMIT: Final = 1_000  # in the cache; bounds memory, at 2,000 ids each
REPORT_TTL_S: Final = 6.0  # three messages missed: the report is stale
DECIDED_AFTER_S: Final = 1.0  # by then the scheduler has assigned the prediction if there is capacity


class WarmReport(NamedTuple):
    """The scheduler's last report on queues; `at` is of the monotonic clock."""

    at: float
    ready: frozenset[str]
    booting: frozenset[str]
    retrying: frozenset[str]


def waiting_reason(report: WarmReport | None, queue: str, waited_s: float) -> WaitingFor | None:
    """Return what a prediction of the queue waits for; None if that is not known yet."""
    if report is None:
        return None
    if queue in report.ready:
        return "queue"
    if queue in report.booting:
        return "instance_boot"
    if queue in report.retrying:
        return "boot_retry"
    return "capacity" if waited_s >= DECIDED_AFTER_S else None


class QueuePositions(msgspec.Struct, frozen=True):
    """Positions in a queue, from 1, by prediction id. Predictions accepted after `until` are behind all of them."""

    of: dict[str, int]
    until: float
    whole: bool

    def position(self, prediction: str, accepted_at: float) -> int | None:
        """Return the position; None for a prediction that is too far behind, or has started meanwhile."""
        known = self.of.get(prediction)
        if known is None and self.whole and accepted_at > self.until:
            return len(self.of) + 1
        return known


AnswerT = TypeVar("AnswerT")


class SharedQuery(Generic[AnswerT]):
    """One query per queue for all callers within a time to live."""

    def __init__(self, tasks: Tasks, ask: Callable[[str], Coroutine[Any, Any, AnswerT]], life_s: float) -> None:
        self._tasks = tasks
        self._query_positions = ask
        self._life_s = life_s
        self._asked: dict[str, tuple[float, asyncio.Task[AnswerT]]] = {}

    def clear(self) -> None:
        self._asked.clear()

    async def of(self, queue: str) -> AnswerT:
        known = self._asked.get(queue)
        if known is None or known[0] <= monotonic():
            if len(self._asked) >= QUEUES_LIMIT:
                self._asked.clear()
            asking = self._tasks.start(self._query_positions(queue), f"{self._query_positions.__name__} {queue}")
            known = self._asked[queue] = (monotonic() + self._life_s, asking)
        return await asyncio.shield(known[1])


class QueueStatus:
    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._report: WarmReport | None = None
        self._tasks = Tasks()
        self._positions = SharedQuery(self._tasks, self._query_positions, POSITIONS_TTL_S)
        self._boots = SharedQuery(self._tasks, self._query_boot, BOOT_TTL_S)

    async def on_warm(self, warm: WarmQueues) -> None:
        self._report = WarmReport(
            monotonic(), frozenset(warm.queues), frozenset(warm.booting), frozenset(warm.retrying)
        )

    async def add_to(self, row: Row, prediction: Prediction) -> None:
        """Add the status if the prediction waits; `row` is the prediction's."""
        if row["status"] != Status.STARTING or row["worker"] is not None:
            return
        report = self._report if self._report is not None and monotonic() - self._report.at < REPORT_TTL_S else None
        accepted_at = row["accepted_at"].timestamp()
        prediction.waiting_for = waiting_reason(report, row["queue"], now() - accepted_at) or UNSET
        prediction.queue_position = await self._position(row["queue"], row["id"], accepted_at)
        if prediction.waiting_for is not UNSET:
            prediction.waiting_since = prediction.created_at
        if prediction.waiting_for == "instance_boot":
            await self._add_boot(row["queue"], prediction)

    async def _add_boot(self, queue: str, prediction: Prediction) -> None:
        boot = await self._boots.of(queue)
        if boot is not None:
            prediction.waiting_since = rfc3339(boot["began_at"].timestamp())
            prediction.setup_logs = boot["logs"]

    async def _position(self, queue: str, prediction: str, accepted_at: float) -> int | UnsetType:
        positions = await self._positions.of(queue)
        return UNSET if positions is None else positions.position(prediction, accepted_at) or UNSET

    async def _query_boot(self, queue: str) -> Row | None:
        try:
            return await stores.boots.find_current(self._database, queue)
        except TRANSIENT_ERRORS:
            return None

    async def _query_positions(self, queue: str) -> QueuePositions | None:
        line = await self._bus.ask(
            subjects.WAITING_LIST, WaitingListRequest(queue=queue), WaitingList, timeout_s=REPLY_TIMEOUT_S
        )
        if line is None:
            return None
        try:
            waiting = await stores.predictions.list_unclaimed(self._database, line.ids)
        except TRANSIENT_ERRORS:
            return None
        order = [each for each in line.ids if each in waiting]
        return QueuePositions({each: place for place, each in enumerate(order, 1)}, line.until, line.whole)
