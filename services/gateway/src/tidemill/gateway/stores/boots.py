"""The SQL that reads the boots of instances. Workers write them."""

from typing import Final

from tidemill.contracts.lease import SQL_LOST
from tidemill.runtime.db import Database, Row

SHOWN_LOG_CHARS: Final = 1500  # to a client that waits; as much as the error of a failed setup shows
_OPEN: Final = f"""
(b.ready_at IS NULL AND b.error IS NULL AND EXISTS (
    SELECT FROM worker w WHERE w.id = b.worker AND w.lease_until > {SQL_LOST}))"""
_OF_VERSION: Final = f"""
SELECT b.instance, b.began_at, b.ready_at, b.error, b.phases::text AS phases, b.logs, {_OPEN} AS goes_on FROM boot b
WHERE b.version_queue = $1 ORDER BY b.began_at DESC, b.instance"""
_CURRENT: Final = f"""
SELECT b.began_at, right(b.logs, {SHOWN_LOG_CHARS}) AS logs FROM boot b
WHERE b.version_queue = (SELECT q.version_queue FROM queue_version q WHERE q.queue = $1) AND b.queue = $1 AND {_OPEN}
ORDER BY b.began_at LIMIT 1"""


async def list_of_version(database: Database, queue: str) -> list[Row]:
    """Return the boots of the version with this queue, the newest first."""
    return await database.fetch(_OF_VERSION, queue)


async def find_current(database: Database, queue: str) -> Row | None:
    """Return the oldest boot under way in a queue. One that began a moment ago may be missing."""
    return await database.row(_CURRENT, queue)
