"""What predictions that have not begun are told: how many are before them, and what they wait for.

Everybody who polls the same queue within a second shares one question to the scheduler and one to the rows. Who cannot
be told is told nothing: hints never hold an answer up for long.
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

LINE_LIFE_S: Final = 1.0
BOOT_LIFE_S: Final = 1.0  # workers write what a set-up has printed as often
PATIENCE_S: Final = 0.25  # a scheduler that leads answers in a millisecond
QUEUES_LIMIT: Final = 1_000  # remembered; bounds memory, at 2,000 ids each
WARM_LIFE_S: Final = 6.0  # three messages missed: what was heard grows old
DECIDED_AFTER_S: Final = 1.0  # by then the scheduler has found the prediction a place, if there is one


class Heard(NamedTuple):
    """What the scheduler said last, as sets; `at` of the monotonic clock."""

    at: float
    ready: frozenset[str]
    booting: frozenset[str]
    retrying: frozenset[str]


def reason(heard: Heard | None, queue: str, waited_s: float) -> WaitingFor | None:
    """What a prediction of the queue waits for; None when nobody knows yet."""
    if heard is None:
        return None
    if queue in heard.ready:
        return "queue"
    if queue in heard.booting:
        return "instance_boot"
    if queue in heard.retrying:
        return "boot_retry"
    return "capacity" if waited_s >= DECIDED_AFTER_S else None


class Places(msgspec.Struct, frozen=True):
    """The places in a queue, from 1, of those known to wait; `until`: who came after that is behind them all."""

    of: dict[str, int]
    until: float
    whole: bool

    def place(self, prediction: str, accepted_at: float) -> int | None:
        """None for one that is too far behind, or that has begun by now."""
        known = self.of.get(prediction)
        if known is None and self.whole and accepted_at > self.until:
            return len(self.of) + 1
        return known


AnswerT = TypeVar("AnswerT")


class Shared(Generic[AnswerT]):
    """One question about each queue for all who ask within a while."""

    def __init__(self, tasks: Tasks, ask: Callable[[str], Coroutine[Any, Any, AnswerT]], life_s: float) -> None:
        self._tasks = tasks
        self._ask = ask
        self._life_s = life_s
        self._asked: dict[str, tuple[float, asyncio.Task[AnswerT]]] = {}

    def clear(self) -> None:
        self._asked.clear()

    async def of(self, queue: str) -> AnswerT:
        known = self._asked.get(queue)
        if known is None or known[0] <= monotonic():
            if len(self._asked) >= QUEUES_LIMIT:
                self._asked.clear()
            asking = self._tasks.start(self._ask(queue), f"{self._ask.__name__} {queue}")
            known = self._asked[queue] = (monotonic() + self._life_s, asking)
        return await asyncio.shield(known[1])


class WaitingRoom:
    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._heard: Heard | None = None
        self._tasks = Tasks()
        self._places = Shared(self._tasks, self._ask, LINE_LIFE_S)
        self._boots = Shared(self._tasks, self._ask_boot, BOOT_LIFE_S)

    async def on_warm(self, warm: WarmQueues) -> None:
        self._heard = Heard(monotonic(), frozenset(warm.queues), frozenset(warm.booting), frozenset(warm.retrying))

    async def tell(self, row: Row, prediction: Prediction) -> None:
        """Says it to one that waits; `row` is the prediction's."""
        if row["status"] != Status.STARTING or row["worker"] is not None:
            return
        heard = self._heard if self._heard is not None and monotonic() - self._heard.at < WARM_LIFE_S else None
        accepted_at = row["accepted_at"].timestamp()
        prediction.waiting_for = reason(heard, row["queue"], now() - accepted_at) or UNSET
        prediction.queue_position = await self._place(row["queue"], row["id"], accepted_at)
        if prediction.waiting_for is not UNSET:
            prediction.waiting_since = prediction.created_at
        if prediction.waiting_for == "instance_boot":
            await self._tell_boot(row["queue"], prediction)

    async def _tell_boot(self, queue: str, prediction: Prediction) -> None:
        boot = await self._boots.of(queue)
        if boot is not None:
            prediction.waiting_since = rfc3339(boot["began_at"].timestamp())
            prediction.setup_logs = boot["logs"]

    async def _place(self, queue: str, prediction: str, accepted_at: float) -> int | UnsetType:
        places = await self._places.of(queue)
        return UNSET if places is None else places.place(prediction, accepted_at) or UNSET

    async def _ask_boot(self, queue: str) -> Row | None:
        try:
            return await stores.boots.find_current(self._database, queue)
        except TRANSIENT_ERRORS:
            return None

    async def _ask(self, queue: str) -> Places | None:
        line = await self._bus.ask(
            subjects.WAITING_LIST, WaitingListRequest(queue=queue), WaitingList, timeout_s=PATIENCE_S
        )
        if line is None:
            return None
        try:
            waiting = await stores.predictions.list_unclaimed(self._database, line.ids)
        except TRANSIENT_ERRORS:
            return None
        order = [each for each in line.ids if each in waiting]
        return Places({each: place for place, each in enumerate(order, 1)}, line.until, line.whole)
