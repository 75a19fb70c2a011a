"""Which stretch of accepted_at to read next. Pure; times in unix seconds of the database.

A row may become visible some time after its accepted_at, but not later than its statement may run: only what lies
further back than that is read, so that one reading of a stretch is enough.
"""

from typing import Final, NamedTuple

from tidemill.runtime.db import STATEMENT_TIMEOUT_S

SETTLED_AFTER_S: Final = STATEMENT_TIMEOUT_S + 2.0  # the margin is for the commit
SLICE_FIRST_S: Final = 10.0  # bounds one statement: 20,000 rows at 2,000 predictions a second
SLICE_LIMIT_S: Final = 3600.0  # quiet times after a long outage pass quickly
FEW_ROWS: Final = 500  # a slice with fewer than this was quiet, and the next may be longer


class Stretch(NamedTuple):
    """after < accepted_at <= until."""

    after: float
    until: float


def next_stretch(reached: float, now: float, retention_s: float, slice_s: float) -> Stretch | None:
    """None when everything accepted up to the retention ago has been read."""
    due = now - max(retention_s, SETTLED_AFTER_S)
    return Stretch(reached, min(reached + slice_s, due)) if reached < due else None


def next_slice_s(slice_s: float, rows: int) -> float:
    return min(slice_s * 2, SLICE_LIMIT_S) if rows < FEW_ROWS else SLICE_FIRST_S
