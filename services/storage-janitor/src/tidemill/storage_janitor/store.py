"""The SQL of retention. Each statement may be repeated, after a crash at any point and beside another janitor."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from tidemill.contracts.prediction import Status
from tidemill.runtime.clock import at
from tidemill.runtime.db import Database, Row
from tidemill.runtime.predictions.removal import IS_KEPT, IS_OVER, OF_SHORT_RETENTION
from tidemill.runtime.scan import Window

SCAN: Final = "retention"  # the name of its watermark
BATCH: Final = 500  # predictions of one statement that removes data

NOW: Final = "SELECT extract(epoch FROM clock_timestamp())::float8"
# The output of one that succeeded names its files by URL; one that ended otherwise may have left some unnamed.
_FILES: Final = f"(p.status <> '{Status.SUCCEEDED}' OR p.output::text LIKE '%http%')"
# What was an example may have copies of its input's files beside its output. Inputs are looked at only where few are;
# what ceased to be an example before the scan came by leaves its copies to the search for orphans.
_COPIES: Final = "p.input::text LIKE '%/v1/delivery/%'"

IN_WINDOW: Final = f"""
SELECT p.id, {_FILES} AS files, {IS_OVER} AND NOT {IS_KEPT} AS due
FROM prediction p
WHERE p.accepted_at > $3 AND p.accepted_at <= $4 AND p.source = 'api' AND NOT p.data_removed"""
IN_WINDOW_OF_SHORT_RETENTION: Final = f"{IN_WINDOW} AND {OF_SHORT_RETENTION}"
IMPATIENT: Final = "SELECT id, retention_s FROM account WHERE retention_s < $1::float8"

# Among them those whose row is gone, those that their owner has deleted, and those that wait for their last webhook.
DEFERRED: Final = f"""
SELECT l.prediction_id AS id, COALESCE({_FILES} OR {_COPIES}, true) AS files
FROM removal_due_later l LEFT JOIN prediction p ON p.id = l.prediction_id
WHERE p.id IS NULL OR ((p.deleted_at IS NOT NULL OR ({IS_OVER} AND NOT {IS_KEPT}))
    AND (NOT p.data_removed OR NOT EXISTS (
        SELECT FROM webhook_delivery d WHERE d.prediction_id = p.id AND d.status = 'pending')))
LIMIT $3"""

EXPIRE_KEYS: Final = """
DELETE FROM idempotency WHERE (account_id, key) IN (
    SELECT account_id, key FROM idempotency WHERE expires_at <= clock_timestamp() ORDER BY expires_at LIMIT $1)
RETURNING 1"""

KEPT: Final = "SELECT id, data_removed FROM prediction WHERE id = ANY ($1)"


class Due(NamedTuple):
    """A prediction whose data has to go; `files` when the object store may hold some."""

    id: str
    files: bool


class Found(NamedTuple):
    due: list[Due]
    later: list[str]


class Clock(NamedTuple):
    """The database's time, and how long data is kept by default; seconds."""

    now: float
    retention_s: float


async def now(database: Database) -> float:
    moment: float = await database.value(NOW)
    return moment


async def found_in(database: Database, window: Window, clock: Clock, *, impatient: bool = False) -> Found:
    """`impatient`: only of accounts that want their data deleted sooner."""
    statement = IN_WINDOW_OF_SHORT_RETENTION if impatient else IN_WINDOW
    rows = await database.fetch(statement, at(clock.now), clock.retention_s, at(window.after), at(window.until))
    return Found([_due(row) for row in rows if row["due"]], [row["id"] for row in rows if not row["due"]])


async def impatient(database: Database, retention_s: float) -> dict[str, int]:
    """The retention, in seconds, of the accounts whose data is to go sooner, by their ids."""
    return {row["id"]: row["retention_s"] for row in await database.fetch(IMPATIENT, retention_s)}


async def deferred(database: Database, clock: Clock) -> list[Due]:
    """Those put off earlier whose time has come; at most BATCH."""
    return [_due(row) for row in await database.fetch(DEFERRED, at(clock.now), clock.retention_s, BATCH)]


async def expire_keys(database: Database) -> int:
    """Deletes at most BATCH idempotency keys past their time; answers how many."""
    return len(await database.fetch(EXPIRE_KEYS, BATCH))


async def kept(database: Database, predictions: Sequence[str]) -> dict[str, bool]:
    """Whether its data was removed, of each prediction that has a row."""
    return {row["id"]: row["data_removed"] for row in await database.fetch(KEPT, list(predictions))}


def _due(row: Row) -> Due:
    return Due(row["id"], row["files"])
