"""The SQL of retention. Each statement may be repeated, after a crash at any point and beside another janitor."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from tidemill.runtime.clock import at
from tidemill.runtime.db import Database, Row
from tidemill.storage_janitor.pace import Stretch

WALK: Final = "retention"
BATCH: Final = 500  # predictions of one statement that removes data

NOW: Final = "SELECT extract(epoch FROM clock_timestamp())::float8"
REACHED: Final = "SELECT reached FROM walk WHERE name = $1"
# Without a memory the walk begins at the oldest row; an hour covers gateways whose clocks run ahead.
OLDEST: Final = """
SELECT COALESCE(
    (SELECT least(accepted_at, created_at) FROM prediction ORDER BY id LIMIT 1),
    clock_timestamp()) - interval '1 hour'"""
REACH: Final = """
INSERT INTO walk (name, reached) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET reached = GREATEST(walk.reached, excluded.reached)"""

_EXAMPLE: Final = "EXISTS (SELECT FROM example e WHERE e.prediction_id = p.id)"
# The output of one that succeeded names its files by URL; one that ended otherwise may have left some unnamed.
_FILES: Final = "(p.status <> 'succeeded' OR p.output::text LIKE '%http%')"

STRETCH: Final = f"""
SELECT p.id, {_FILES} AS files, COALESCE(p.completed_at <= $3, false) AND NOT {_EXAMPLE} AS due
FROM prediction p
WHERE p.accepted_at > $1 AND p.accepted_at <= $2 AND p.source = 'api' AND NOT p.data_removed"""  # noqa: S608 - own constants

DEFER: Final = "INSERT INTO removal_due_later SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"

# Among them those whose row is gone, and those that wait for their last webhook alone.
DEFERRED: Final = f"""
SELECT l.prediction_id AS id, COALESCE({_FILES}, true) AS files
FROM removal_due_later l LEFT JOIN prediction p ON p.id = l.prediction_id
WHERE p.id IS NULL OR (p.completed_at <= $1 AND NOT {_EXAMPLE} AND (NOT p.data_removed OR NOT EXISTS (
    SELECT FROM webhook_delivery d WHERE d.prediction_id = p.id AND d.status = 'pending')))
LIMIT $2"""  # noqa: S608 - as above

# Completion and examples are looked at once more: what became an example meanwhile stays.
FORGET: Final = f"""
UPDATE prediction p SET input = '{{}}', output = NULL, logs = NULL, data_removed = true
WHERE p.id = ANY ($1) AND p.completed_at <= $2 AND NOT p.data_removed AND NOT {_EXAMPLE}
RETURNING p.id"""  # noqa: S608 - as above
_GONE: Final = "NOT EXISTS (SELECT FROM prediction p WHERE p.id = {0} AND NOT p.data_removed)"
# What receivers answered goes too: it may quote what they were sent.
CLEAR_BODIES: Final = f"""
UPDATE webhook_delivery d SET body = NULL, log = COALESCE((
    SELECT jsonb_agg(entry - 'response' ORDER BY n)
    FROM jsonb_array_elements(d.log) WITH ORDINALITY AS t (entry, n)), '[]')
WHERE d.prediction_id = ANY ($1) AND d.status <> 'pending' AND d.body IS NOT NULL
    AND {_GONE.format("d.prediction_id")}"""  # noqa: S608 - as above
# A delivery that is still tried keeps its body, so that retries send the same bytes; its turn comes later.
DEFER_BODIES: Final = """
INSERT INTO removal_due_later
SELECT DISTINCT prediction_id FROM webhook_delivery
WHERE prediction_id = ANY ($1) AND (status = 'pending' OR body IS NOT NULL)
ON CONFLICT DO NOTHING"""
SETTLE: Final = f"""
DELETE FROM removal_due_later l WHERE l.prediction_id = ANY ($1) AND {_GONE.format("l.prediction_id")}
    AND NOT EXISTS (SELECT FROM webhook_delivery d
        WHERE d.prediction_id = l.prediction_id AND (d.status = 'pending' OR d.body IS NOT NULL))"""  # noqa: S608 - as above

KEPT: Final = "SELECT id, data_removed FROM prediction WHERE id = ANY ($1)"


class Due(NamedTuple):
    """A prediction whose data has to go; `files` when the object store may hold some."""

    id: str
    files: bool


class Found(NamedTuple):
    due: list[Due]
    later: list[str]


async def now(database: Database) -> float:
    moment: float = await database.value(NOW)
    return moment


async def reached(database: Database) -> float:
    """Where the walk goes on."""
    moment = await database.value(REACHED, WALK) or await database.value(OLDEST)
    return float(moment.timestamp())


async def reach(database: Database, until: float) -> None:
    await database.execute(REACH, WALK, at(until))


async def found_in(database: Database, stretch: Stretch, completed_before: float) -> Found:
    rows = await database.fetch(STRETCH, at(stretch.after), at(stretch.until), at(completed_before))
    return Found([_due(row) for row in rows if row["due"]], [row["id"] for row in rows if not row["due"]])


async def defer(database: Database, predictions: Sequence[str]) -> None:
    await database.execute(DEFER, list(predictions))


async def deferred(database: Database, completed_before: float) -> list[Due]:
    """Those put off earlier whose time has come; at most BATCH."""
    return [_due(row) for row in await database.fetch(DEFERRED, at(completed_before), BATCH)]


async def forget(database: Database, predictions: Sequence[str], completed_before: float) -> int:
    """Removes the data of predictions, in one transaction; answers of how many. Their objects are gone by now."""
    ids = list(predictions)
    async with database.transaction() as connection:
        gone = await connection.fetch(FORGET, ids, at(completed_before))
        await connection.execute(CLEAR_BODIES, ids)
        await connection.execute(DEFER_BODIES, ids)
        await connection.execute(SETTLE, ids)
    return len(gone)


async def kept(database: Database, predictions: Sequence[str]) -> dict[str, bool]:
    """Whether its data was removed, of each prediction that has a row."""
    return {row["id"]: row["data_removed"] for row in await database.fetch(KEPT, list(predictions))}


def _due(row: Row) -> Due:
    return Due(row["id"], row["files"])
