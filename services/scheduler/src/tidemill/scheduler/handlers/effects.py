"""Carries out the sweep's decisions: ends predictions, starts next attempts, sends hints again.

Writes rows first, then sends messages; a later sweep repairs a lost message. Waits for the bus only in tasks of its
own.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from prometheus_client import Counter

from tidemill.contracts import events, subjects
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import DedicatedConnection
from tidemill.runtime.predictions import announcements, ending, outcome, requeue
from tidemill.runtime.predictions.ending import Ended
from tidemill.runtime.predictions.fences import Attempt
from tidemill.runtime.predictions.outcome import Outcome
from tidemill.runtime.telemetry import log
from tidemill.scheduler import store
from tidemill.scheduler.sweep_decisions import EndPrediction, OpenPrediction

ItemT = TypeVar("ItemT")

DECIDED: Final = Counter("tidemill_scheduler_decisions_total", "What the sweep did", ["decision"])


class Effects:
    """`announcing` owns tasks that wait for the bus; `connection` is for statements by primary key."""

    def __init__(self, connection: DedicatedConnection, bus: Bus, announcing: asyncio.TaskGroup) -> None:
        self.connection = connection
        self._bus = bus
        self._announcing = announcing

    async def send_load_report(self, load: events.LoadReport) -> None:
        if self._bus.connected:
            await self._bus.send(subjects.LOAD, load)

    async def end(self, ends: Sequence[tuple[OpenPrediction, EndPrediction]], now: float) -> None:
        """End predictions and announce it. `now` is the database's time and becomes `completed_at`."""
        for batch in batches(ends):
            outcomes = [_outcome(row, end, now) for row, end in batch]
            ended = await ending.end(self.connection, outcomes)
            pairs = [(ended[each.id], each) for each in outcomes if each.id in ended]
            if pairs:
                self._announcing.create_task(self._announce(pairs), name="announce")
            for each in outcomes:
                DECIDED.labels(str(each.status) if each.id in ended else "overtaken").inc()
                log().info("ended", action="end", prediction=each.id, status=each.status, code=each.error_code)

    async def _announce(self, pairs: Sequence[tuple[Ended, Outcome]]) -> None:
        for _, each in pairs:
            if self._bus.connected:  # otherwise the worker notices by its lease or its fenced write
                await self._bus.send(subjects.CANCEL, events.Cancel(id=each.id, attempt=each.attempt))
        await announcements.announce(self._bus, pairs)

    async def mark_lost_workers(self, now: float) -> None:
        for worker in await store.mark_lost_workers(self.connection, now):
            log().warning("worker lost", action="lease", worker=worker)

    async def start_next_attempts(self, rows: Sequence[OpenPrediction]) -> list[str]:
        """Move predictions back to starting and send their hints. Return the ids that this call moved."""
        moved: dict[str, int] = {}
        for batch in batches(rows):
            moved |= await requeue.next_attempt_of_lost(
                self.connection, [Attempt(row.id, row.attempt) for row in batch]
            )
        for prediction, attempt in moved.items():
            DECIDED.labels("attempt").inc()
            log().warning("next attempt", action="attempt", prediction=prediction, attempt=attempt)
        await self.send_hints(list(moved))
        return list(moved)

    async def send_hints(self, predictions: Sequence[str]) -> None:
        if not self._bus.connected:  # all unclaimed predictions get a hint when the bus is back
            return
        for batch in batches(predictions):
            for queue, job in await store.jobs(self.connection, batch):
                await self._bus.send(subjects.job(queue), job)
                DECIDED.labels("hint").inc()
                log().info("hint sent", action="republish", prediction=job.id, attempt=job.attempt)


def batches(items: Sequence[ItemT]) -> Iterator[Sequence[ItemT]]:
    for start in range(0, len(items), store.BATCH):
        yield items[start : start + store.BATCH]


def _outcome(row: OpenPrediction, end: EndPrediction, now: float) -> Outcome:
    return Outcome(
        id=row.id,
        attempt=row.attempt,
        status=end.status,
        error=end.error,
        error_code=end.code,
        metrics=outcome.metrics(row.started_at, row.created_at, now),
        completed_at=now,
    )
