"""The SQL of retention. Each statement may be repeated after a crash at any point, and run beside another janitor."""

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
# The output of a succeeded prediction contains the URLs of its files; any other one may have left files without a URL.
_FILES: Final = f"(p.status <> '{Status.SUCCEEDED}' OR p.output::text LIKE '%http%')"
# What was an example may have copies of its input's files beside its output. Inputs are looked at only where few are;
# what ceased to be an example before the scan came by leaves its copies to the search for orphans.
_COPIES: Final = "p.input::text LIKE '%/v1/delivery/%'"

IN_WINDOW: Final = f"""
SELECT p.id, {_FILES} AS files, {IS_OVER} AND NOT {IS_KEPT} AS due
FROM prediction p
WHERE p.accepted_at > $3 AND p.accepted_at <= $4 AND p.source = 'api' AND NOT p.data_removed"""
IN_WINDOW_OF_SHORT_RETENTION: Final = f"{IN_WINDOW} AND {OF_SHORT_RETENTION}"
SHORT_RETENTIONS: Final = "SELECT id, retention_s FROM account WHERE retention_s < $1::float8"

# Includes predictions without a row, deleted ones, and those that wait for their last webhook.
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


class DuePrediction(NamedTuple):
    """A prediction whose data is due for removal. `files`: the object store may hold files of it."""

    id: str
    files: bool


class ScanResult(NamedTuple):
    """Predictions of one window: those due now, and ids of those to check later."""

    due: list[DuePrediction]
    later: list[str]


class RetentionClock(NamedTuple):
    """The database's time (unix seconds) and the default retention in seconds."""

    now: float
    retention_s: float


async def now(database: Database) -> float:
    moment: float = await database.value(NOW)
    return moment


async def scan_window(
    database: Database, window: Window, clock: RetentionClock, *, of_short_retention: bool = False
) -> ScanResult:
    """Scan one window. `of_short_retention`: only accounts with a shorter retention than the default."""
    statement = IN_WINDOW_OF_SHORT_RETENTION if of_short_retention else IN_WINDOW
    rows = await database.fetch(statement, at(clock.now), clock.retention_s, at(window.after), at(window.until))
    return ScanResult([_due(row) for row in rows if row["due"]], [row["id"] for row in rows if not row["due"]])


async def short_retentions(database: Database, retention_s: float) -> dict[str, int]:
    """Return account id → retention in seconds, for accounts with a shorter retention than the default."""
    return {row["id"]: row["retention_s"] for row in await database.fetch(SHORT_RETENTIONS, retention_s)}


async def deferred(database: Database, clock: RetentionClock) -> list[DuePrediction]:
    """Return deferred predictions that are due now, at most BATCH."""
    return [_due(row) for row in await database.fetch(DEFERRED, at(clock.now), clock.retention_s, BATCH)]


async def expire_keys(database: Database) -> int:
    """Delete expired idempotency keys, at most BATCH. Return how many."""
    return len(await database.fetch(EXPIRE_KEYS, BATCH))


async def data_removed(database: Database, predictions: Sequence[str]) -> dict[str, bool]:
    """Return prediction id → whether its data was removed, for predictions that have a row."""
    return {row["id"]: row["data_removed"] for row in await database.fetch(KEPT, list(predictions))}


def _due(row: Row) -> DuePrediction:
    return DuePrediction(row["id"], row["files"])
