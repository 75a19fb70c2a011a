"""Scans of predictions in the order of acceptance: each window of accepted_at is read once, behind a stored watermark.

A row may become visible some time after its accepted_at, but not later than its statement may run: what lies further
back is settled, and reading it once is enough. Times are unix seconds of the database's clock. The watermarks stand in
the table `walk`, a row for each scan.
"""

from typing import Any, Final, NamedTuple

from tidemill.runtime.clock import at
from tidemill.runtime.db import STATEMENT_TIMEOUT_S, Database, DedicatedConnection

SETTLED_AFTER_S: Final = STATEMENT_TIMEOUT_S + 2.0  # the margin is for the commit

WATERMARK: Final = "SELECT reached FROM walk WHERE name = $1"
LOCK_WATERMARK: Final = f"{WATERMARK} FOR UPDATE"
# A new scan begins at the oldest row; an hour covers gateways whose clocks run ahead.
START: Final = """
SELECT COALESCE(
    (SELECT least(accepted_at, created_at) FROM prediction ORDER BY id LIMIT 1),
    clock_timestamp()) - interval '1 hour'"""
BEGIN: Final = "INSERT INTO walk (name, reached) VALUES ($1, $2) ON CONFLICT DO NOTHING"
ADVANCE: Final = """
INSERT INTO walk (name, reached) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET reached = GREATEST(walk.reached, excluded.reached)"""


class Window(NamedTuple):
    """The rows with after < accepted_at <= until."""

    after: float
    until: float


async def find_watermark(database: Database, scan: str) -> float:
    """Return the moment up to which the scan has read all rows, or one before all rows if it has not begun."""
    moment = await database.value(WATERMARK, scan) or await database.value(START)
    return float(moment.timestamp())


async def advance_watermark(connection: Database | DedicatedConnection, scan: str, until: float) -> None:
    """Store that all rows up to `until` have been read. A watermark never goes back."""
    await connection.fetch(ADVANCE, scan, at(until))


async def lock_watermark(connection: Any, scan: str) -> float | None:
    """Return the watermark and lock it for the transaction, so that one transaction reads each window.

    Return None if the scan has not begun: it begins with this transaction.
    """
    moment = await connection.fetchval(LOCK_WATERMARK, scan)
    if moment is None:
        await connection.execute(BEGIN, scan, await connection.fetchval(START))
        return None
    return float(moment.timestamp())


async def advance_locked_watermark(connection: Any, scan: str, until: float) -> None:
    """Store, in the transaction that has locked the watermark, that all rows up to `until` have been read."""
    await connection.execute(ADVANCE, scan, at(until))
