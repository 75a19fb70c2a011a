"""What predictions that have not begun are told: how many are before them, and what they wait for.

Everybody who polls the same queue within a second shares one question to the scheduler and one to the rows. Who cannot
be told is told nothing: hints never hold an answer up for long.
"""

import asyncio
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from tidemill.contracts import api, subjects
from tidemill.contracts.events import Line, LineAsked, Warm
from tidemill.contracts.prediction import Status
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import monotonic, now
from tidemill.runtime.db import AWAY, Database, Row
from tidemill.runtime.tasks import Tasks

LINE_LIFE_S: Final = 1.0
PATIENCE_S: Final = 0.25  # a scheduler that leads answers in a millisecond
LINES_LIMIT: Final = 1_000  # queues remembered; bounds memory, at 2,000 ids each
WARM_LIFE_S: Final = 6.0  # three messages missed: what was heard grows old
DECIDED_AFTER_S: Final = 1.0  # by then the scheduler has found the prediction a place, if there is one
STILL_WAITING: Final = """
SELECT id FROM prediction WHERE id = ANY ($1) AND status = 'starting' AND worker IS NULL"""


class Heard(NamedTuple):
    """What the scheduler said last, as sets; `at` of the monotonic clock."""

    at: float
    ready: frozenset[str]
    booting: frozenset[str]
    retrying: frozenset[str]


def reason(heard: Heard | None, queue: str, waited_s: float) -> api.WaitingFor | None:
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


class WaitingRoom:
    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._heard: Heard | None = None
        self._tasks = Tasks()
        self._places: dict[str, tuple[float, asyncio.Task[Places | None]]] = {}

    async def on_warm(self, warm: Warm) -> None:
        self._heard = Heard(monotonic(), frozenset(warm.queues), frozenset(warm.booting), frozenset(warm.retrying))

    async def tell(self, row: Row, prediction: api.Prediction) -> None:
        """Says it to one that waits; `row` is the prediction's."""
        if row["status"] != Status.STARTING or row["worker"] is not None:
            return
        heard = self._heard if self._heard is not None and monotonic() - self._heard.at < WARM_LIFE_S else None
        accepted_at = row["accepted_at"].timestamp()
        prediction.waiting_for = reason(heard, row["queue"], now() - accepted_at) or UNSET
        prediction.queue_position = await self._place(row["queue"], row["id"], accepted_at)

    async def _place(self, queue: str, prediction: str, accepted_at: float) -> int | UnsetType:
        places = await asyncio.shield(self._shared(queue))
        return UNSET if places is None else places.place(prediction, accepted_at) or UNSET

    def _shared(self, queue: str) -> "asyncio.Task[Places | None]":
        known = self._places.get(queue)
        if known is not None and known[0] > monotonic():
            return known[1]
        if len(self._places) >= LINES_LIMIT:
            self._places.clear()
        asking = self._tasks.start(self._ask(queue), f"places in queue {queue}")
        self._places[queue] = (monotonic() + LINE_LIFE_S, asking)
        return asking

    async def _ask(self, queue: str) -> Places | None:
        line = await self._bus.ask(subjects.LINE, LineAsked(queue=queue), Line, timeout_s=PATIENCE_S)
        if line is None:
            return None
        try:
            rows = await self._database.fetch(STILL_WAITING, line.ids)
        except AWAY:
            return None
        waiting = {row["id"] for row in rows}
        order = [each for each in line.ids if each in waiting]
        return Places({each: place for place, each in enumerate(order, 1)}, line.until, line.whole)
