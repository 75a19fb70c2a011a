"""Deletes predictions: what can be seen goes at once; files and messages right after, or with the janitor's next round.

The row stays, invisible and without data, so that what was used can still be counted.
"""

from typing import Final, Protocol

from tidemill.contracts.prediction import SQL_OPEN
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database, Row
from tidemill.runtime.objects.store import Objects, ObjectStoreError
from tidemill.runtime.streams import removal
from tidemill.runtime.telemetry import log

BURY: Final = f"""
UPDATE prediction p SET deleted_at = clock_timestamp(), data_removed = true, input = '{{}}', output = NULL, logs = NULL,
    error = NULL, webhook = NULL, webhook_events = NULL, shared_at = NULL
WHERE p.id = $1 AND p.account_id = $2 AND p.deleted_at IS NULL AND p.status NOT IN {SQL_OPEN}
    AND NOT EXISTS (SELECT FROM example e WHERE e.prediction_id = p.id)
RETURNING p.id"""  # noqa: S608 - our own constants
# Nobody is told of what its owner does not want to exist any more.
SILENCE: Final = """
UPDATE webhook_delivery SET body = NULL, leased_until = NULL,
    log = COALESCE((
        SELECT jsonb_agg(entry - 'response' ORDER BY n)
        FROM jsonb_array_elements(log) WITH ORDINALITY AS t (entry, n)), '[]'),
    last_error = CASE status WHEN 'pending' THEN 'The prediction was deleted.' ELSE last_error END,
    completed_at = COALESCE(completed_at, clock_timestamp()),
    status = CASE status WHEN 'pending' THEN 'failed' ELSE status END
WHERE prediction_id = $1"""
# Files that a worker stores a moment later, and what fails here, are the janitor's.
HAND_OVER: Final = "INSERT INTO removal_due_later VALUES ($1) ON CONFLICT DO NOTHING"


class DeletionParts(Protocol):
    @property
    def database(self) -> Database: ...
    @property
    def bus(self) -> Bus: ...
    @property
    def objects(self) -> Objects: ...


async def delete(parts: DeletionParts, row: Row) -> bool:
    """`row` of a prediction that has ended. False when it is an example, or was deleted meanwhile."""
    async with parts.database.transaction() as connection:
        if await connection.fetchval(BURY, row["id"], row["account_id"]) is None:
            return False
        await connection.execute(SILENCE, row["id"])
        await connection.execute(HAND_OVER, row["id"])
    await _remove_files(parts.objects, row["id"])
    await _remove_messages(parts.bus, row)
    return True


async def _remove_files(objects: Objects, prediction_id: str) -> None:
    try:
        files = await objects.list(f"outputs/{prediction_id}/")
        if files:
            await objects.delete([file.object_name for file in files])
    except ObjectStoreError as error:
        log().warning("files left to the janitor", action="delete", prediction=prediction_id, error=str(error))


async def _remove_messages(bus: Bus, row: Row) -> None:
    moments = [moment for moment in (row["started_at"], row["completed_at"]) if moment is not None]
    try:
        await removal.remove_output(bus, row["id"])
        await removal.remove_events(bus, row["account_id"], row["kind"], row["id"], moments)
    except removal.FAILURES as error:
        log().warning("messages left to their age", action="delete", prediction=row["id"], error=str(error))
