"""Ends an open prediction or training from outside: its row first, then whoever runs it and whoever waits is told."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from tidemill.contracts import subjects
from tidemill.contracts.events import Cancel
from tidemill.contracts.prediction import Status, may_move
from tidemill.runtime import billing
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import now
from tidemill.runtime.db import DedicatedConnection, Row
from tidemill.runtime.predictions import announcements, ending
from tidemill.runtime.predictions.outcome import Outcome, metrics


class CancelParts(Protocol):
    @property
    def ending(self) -> DedicatedConnection: ...
    @property
    def bus(self) -> Bus: ...
    @property
    def tariffs(self) -> billing.Tariffs: ...


async def cancel(parts: CancelParts, look: Callable[[], Awaitable[Row]]) -> Row:
    """The row when it has ended; `look` reads it. One that has ended already stays as it is."""
    row = await look()
    # A new attempt may begin between the look and the write; the fence then refuses, and the next round sees it.
    while may_move(Status(row["status"]), Status.CANCELED):
        completed_at = now()
        started_at = None if row["started_at"] is None else row["started_at"].timestamp()
        tariff = (await parts.tariffs.of([row["queue"]])).get(row["queue"])
        bill = billing.bill(tariff, Status.CANCELED, started_at, completed_at)
        canceled = Outcome(
            id=row["id"],
            attempt=row["attempt"],
            status=Status.CANCELED,
            metrics=metrics(started_at, row["created_at"].timestamp(), completed_at, bill=bill),
            completed_at=completed_at,
        )
        ended = await ending.end(parts.ending, [canceled])
        if row["id"] in ended:
            await parts.bus.send(subjects.CANCEL, Cancel(id=row["id"], attempt=row["attempt"]))
            await announcements.announce(parts.bus, [(ended[row["id"]], canceled)])
        row = await look()
    return row
