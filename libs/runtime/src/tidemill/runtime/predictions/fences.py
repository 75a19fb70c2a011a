"""The conditions that fence the writes of predictions, as SQL. The row is `p` in all statements."""

from typing import Final

import msgspec

from tidemill.contracts.lease import SQL_LOST
from tidemill.contracts.prediction import SQL_OPEN, SQL_SOURCES, Status
from tidemill.runtime.parameters import RowT, Unnest

HAS_ENDED: Final = f"p.status NOT IN {SQL_OPEN}"
IS_EXAMPLE: Final = "EXISTS (SELECT FROM example e WHERE e.prediction_id = p.id)"


class Attempt(msgspec.Struct, frozen=True):
    """One attempt of a prediction."""

    id: str
    attempt: int


def current_attempt(rows: Unnest[RowT]) -> str:
    """Return the join of `rows`, which have an id and an attempt, with the predictions that are at that attempt.

    `= ANY` leaves the planner no way to read the whole table (see db.HOT_SETTINGS).
    """
    return f"p.id = ANY ({rows['id']}) AND p.id = {rows.alias}.id AND p.attempt = {rows.alias}.attempt"


def may_become(target: Status) -> str:
    """Return the condition that the table of transitions allows the move to `target`."""
    return f"p.status IN {SQL_SOURCES[target]}"


def leased(worker: str) -> str:
    """Return the condition that the scheduler has not called the worker lost; `worker` is a parameter or a column."""
    return f"EXISTS (SELECT 1 FROM worker w WHERE w.id = {worker} AND w.lease_until > {SQL_LOST})"
