"""The SQL of what deleted versions leave behind: predictions of their owners, of which only what bills need is kept."""

from typing import Final, NamedTuple

from tidemill.contracts.ids import id_at
from tidemill.contracts.prediction import SQL_OPEN, Status
from tidemill.runtime.db import Database
from tidemill.storage_janitor.store import Due

BATCH: Final = 500
CLOCKS_MS: Final = 3_600_000  # gateways' clocks, which ids are made with, are not further apart

# `settled`: no gateway remembers the version any more, so that nothing new can come.
NOTES: Final = """
SELECT queue, id, model, account_id, (extract(epoch FROM created_at) * 1000)::bigint AS created_ms,
    removed_at < clock_timestamp() - interval '1 minute' AS settled
FROM removed_version ORDER BY removed_at LIMIT $1"""
# The same files may have been pushed again: what runs in a queue that exists is of the new version.
LEFT: Final = f"""
SELECT p.id, p.status IN {SQL_OPEN} AS open, (p.status <> '{Status.SUCCEEDED}' OR p.output::text LIKE '%http%'
    OR p.input::text LIKE '%/v1/delivery/%') AS files
FROM prediction p
WHERE p.account_id = $1 AND p.id > $2 AND p.model = $3 AND p.version = $4 AND p.kind = 'prediction'
    AND p.deleted_at IS NULL AND NOT EXISTS (SELECT FROM queue_version q WHERE q.queue = p.queue)
ORDER BY p.id LIMIT $5"""
DONE: Final = "DELETE FROM removed_version WHERE queue = $1"


class Removed(NamedTuple):
    """A deleted version. `first` sorts before all its predictions."""

    queue: str
    id: str
    model: str
    account: str
    first: str
    settled: bool


class Left(NamedTuple):
    """A prediction of a deleted version."""

    due: Due
    open: bool


async def removed(database: Database) -> list[Removed]:
    rows = await database.fetch(NOTES, BATCH)
    return [
        Removed(row["queue"], row["id"], row["model"], row["account_id"], _first(row["created_ms"]), row["settled"])
        for row in rows
    ]


def _first(created_ms: int) -> str:
    return id_at(max(0, created_ms - CLOCKS_MS), 0)


async def left(database: Database, version: Removed, after: str) -> list[Left]:
    """Predictions of the version behind the id `after`, in their order; at most BATCH."""
    rows = await database.fetch(LEFT, version.account, after, version.model, version.id, BATCH)
    return [Left(Due(row["id"], row["files"]), row["open"]) for row in rows]


async def done(database: Database, version: Removed) -> None:
    await database.execute(DONE, version.queue)
