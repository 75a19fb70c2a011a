"""The SQL of predictions of deleted versions; only what billing needs is kept of them."""

from typing import Final, NamedTuple

from tidemill.contracts.ids import id_at
from tidemill.contracts.prediction import SQL_OPEN, Status
from tidemill.runtime.db import Database
from tidemill.storage_janitor.store import DuePrediction

BATCH: Final = 500
CLOCKS_MS: Final = 3_600_000  # clocks of gateways, which make the ids, differ by less

# `settled`: no gateway has the version in its cache any more, so no further prediction can come.
NOTES: Final = """
SELECT queue, id, model, account_id, (extract(epoch FROM created_at) * 1000)::bigint AS created_ms,
    removed_at < clock_timestamp() - interval '1 minute' AS settled
FROM removed_version ORDER BY removed_at LIMIT $1"""
# The same files may have been pushed again: predictions in an existing queue belong to the new version.
LEFT: Final = f"""
SELECT p.id, p.status IN {SQL_OPEN} AS open, (p.status <> '{Status.SUCCEEDED}' OR p.output::text LIKE '%http%'
    OR p.input::text LIKE '%/v1/delivery/%') AS files
FROM prediction p
WHERE p.account_id = $1 AND p.id > $2 AND p.model = $3 AND p.version = $4 AND p.kind = 'prediction'
    AND p.deleted_at IS NULL AND NOT EXISTS (SELECT FROM queue_version q WHERE q.queue = p.queue)
ORDER BY p.id LIMIT $5"""
DONE: Final = "DELETE FROM removed_version WHERE queue = $1"


class RemovedVersion(NamedTuple):
    """A deleted version. `first` is an id that sorts before all its predictions."""

    queue: str
    id: str
    model: str
    account: str
    first: str
    settled: bool


class VersionPrediction(NamedTuple):
    """A prediction of a deleted version."""

    due: DuePrediction
    open: bool


async def removed_versions(database: Database) -> list[RemovedVersion]:
    rows = await database.fetch(NOTES, BATCH)
    return [
        RemovedVersion(
            row["queue"], row["id"], row["model"], row["account_id"], _first(row["created_ms"]), row["settled"]
        )
        for row in rows
    ]


def _first(created_ms: int) -> str:
    return id_at(max(0, created_ms - CLOCKS_MS), 0)


async def remaining(database: Database, version: RemovedVersion, after: str) -> list[VersionPrediction]:
    """Return the predictions of the version with ids after `after`, ordered by id, at most BATCH."""
    rows = await database.fetch(LEFT, version.account, after, version.model, version.id, BATCH)
    return [VersionPrediction(DuePrediction(row["id"], row["files"]), row["open"]) for row in rows]


async def finish(database: Database, version: RemovedVersion) -> None:
    await database.execute(DONE, version.queue)
