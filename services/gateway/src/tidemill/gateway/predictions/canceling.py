"""Cancels an open prediction or training: ends its row, then tells its worker and the waiting requests."""

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
    def ending_connection(self) -> DedicatedConnection: ...
    @property
    def bus(self) -> Bus: ...
    @property
    def tariffs(self) -> billing.Tariffs: ...


async def cancel(parts: CancelParts, read: Callable[[], Awaitable[Row]]) -> Row:
    """End the prediction and return its row, which `read` returns. One that has ended already stays unchanged."""
    row = await read()
    # A new attempt may begin between read and write: the write then changes nothing, and the loop reads again.
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
        ended = await ending.end(parts.ending_connection, [canceled])
        if row["id"] in ended:
            await parts.bus.send(subjects.CANCEL, Cancel(id=row["id"], attempt=row["attempt"]))
            await announcements.announce(parts.bus, [(ended[row["id"]], canceled)])
        row = await read()
    return row
