"""Removal of data: input, output and logs go, the row stays. Each statement may be repeated, after a crash anywhere.

`removal_due_later` lists predictions that the janitor has to look at again.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from tidemill.runtime.clock import at
from tidemill.runtime.db import Database
from tidemill.runtime.deliveries import removal as deliveries
from tidemill.runtime.predictions.fences import HAS_ENDED, IS_EXAMPLE

# Examples and shared predictions keep their data.
IS_KEPT: Final = f"(p.shared_at IS NOT NULL OR {IS_EXAMPLE})"
# $1 is the database's time, $2 the service's retention in seconds; an account may want less.
IS_OVER: Final = """COALESCE(p.completed_at <= $1::timestamptz - make_interval(secs => LEAST($2::float8, (
    SELECT a.retention_s FROM account a WHERE a.id = p.account_id))), false)"""
OF_SHORT_RETENTION: Final = "p.account_id IN (SELECT a.id FROM account a WHERE a.retention_s < $2)"

_WITHOUT_DATA: Final = "input = '{}', output = NULL, logs = NULL, data_removed = true"
REMOVE_DUE: Final = f"""
UPDATE prediction p SET {_WITHOUT_DATA}
WHERE p.id = ANY ($3) AND {IS_OVER} AND NOT p.data_removed AND NOT {IS_KEPT}
RETURNING p.id, {OF_SHORT_RETENTION} AS early"""
REMOVE_OF_VERSION: Final = f"""
UPDATE prediction p SET {_WITHOUT_DATA}, deleted_at = COALESCE(p.deleted_at, clock_timestamp())
WHERE p.id = ANY ($1) AND {HAS_ENDED} RETURNING p.id"""

DEFER: Final = "INSERT INTO removal_due_later SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
# A delivery that is still tried keeps its body until it is finished.
DEFER_BODIES: Final = """
INSERT INTO removal_due_later
SELECT DISTINCT prediction_id FROM webhook_delivery
WHERE prediction_id = ANY ($1) AND (status = 'pending' OR body IS NOT NULL)
ON CONFLICT DO NOTHING"""
SETTLE: Final = """
DELETE FROM removal_due_later l
WHERE l.prediction_id = ANY ($1)
    AND NOT EXISTS (SELECT FROM prediction p WHERE p.id = l.prediction_id AND NOT p.data_removed)
    AND NOT EXISTS (SELECT FROM webhook_delivery d
        WHERE d.prediction_id = l.prediction_id AND (d.status = 'pending' OR d.body IS NOT NULL))"""


class Removed(NamedTuple):
    """How many predictions lost their data, and which of them before the service's own retention was over."""

    predictions: int
    early: list[str]


async def remove_due(database: Database, predictions: Sequence[str], now: float, retention_s: float) -> Removed:
    """Remove the data of predictions whose retention is over at `now`, the database's time in unix seconds.

    Callers: the janitor, after it has deleted their objects.
    Fence: completion and retention; the data is there; neither shared nor an example.
    Cost: a probe of the primary key, of `account` and of `example` per prediction; their deliveries, by their index.
    """
    ids = list(predictions)
    async with database.transaction() as connection:
        gone = await connection.fetch(REMOVE_DUE, at(now), retention_s, ids)
        await _settle(connection, ids)
    return Removed(len(gone), [row["id"] for row in gone if row["early"]])


async def remove_of_version(database: Database, predictions: Sequence[str]) -> int:
    """Delete ended predictions of a deleted version, with their data. Return of how many.

    Callers: the janitor, after it has deleted their objects.
    Fence: an ended status.
    Cost: a probe of the primary key per prediction; their deliveries, by their index.
    """
    ids = list(predictions)
    async with database.transaction() as connection:
        gone = await connection.fetch(REMOVE_OF_VERSION, ids)
        await _settle(connection, ids)
    return len(gone)


async def defer(connection: Any, predictions: Sequence[str]) -> None:
    """List predictions for the janitor to look at again. `connection` is one, or the database.

    Callers: the janitor, for what is not due yet; the gateway, for what its scan may have passed.
    Fence: none; repeating it changes nothing. Cost: one row per prediction.
    """
    await connection.execute(DEFER, list(predictions))


async def _settle(connection: Any, ids: list[str]) -> None:
    await deliveries.clear(connection, ids)
    await connection.execute(DEFER_BODIES, ids)
    await connection.execute(SETTLE, ids)
