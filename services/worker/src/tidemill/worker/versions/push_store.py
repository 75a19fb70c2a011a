"""The SQL of pushes. A version appears in the transaction in which its push succeeds, or not at all.

A push belongs to the worker in its row until the scheduler calls that worker lost. Every write checks both.
"""

from typing import Final

import msgspec

from tidemill.contracts.lease import SQL_LOST
from tidemill.runtime.db import Database, Row
from tidemill.runtime.push_queue import SQL_WAITING, SQL_WAITS

# The push of a lost worker is taken over; a lost worker takes none. A worker builds one push of an account at a time:
# slow builds of one account leave places to others.
CLAIM: Final = f"""
WITH {SQL_WAITING}
UPDATE push SET status = 'building', worker = $1, attempt = attempt + 1, logs = '', claimed_at = clock_timestamp()
WHERE id = (
    SELECT p.id FROM push p JOIN waiting_push USING (id)
    WHERE {SQL_WAITS} AND NOT EXISTS (
        SELECT FROM push b WHERE b.account_id = p.account_id AND b.status = 'building' AND b.worker = $1)
    ORDER BY place LIMIT 1 FOR UPDATE OF p SKIP LOCKED)
    AND EXISTS (SELECT FROM worker WHERE id = $1 AND lease_until > {SQL_LOST})
RETURNING id, account_id, model_id, files, attempt,
    (SELECT m.trusted FROM model m WHERE m.id = push.model_id) AS trusted"""
LOGS: Final = "UPDATE push SET logs = $3 WHERE id = $1 AND worker = $2 AND status = 'building'"
FAIL: Final = """
UPDATE push SET status = 'failed', error = $3, logs = $4, completed_at = now()
WHERE id = $1 AND worker = $2 AND status = 'building'"""
# For versions from before ids included the model, the id is the digest.
KNOWN: Final = "SELECT id FROM version WHERE model_id = $1 AND COALESCE(digest, id) = $2 ORDER BY queue LIMIT 1"
SUCCEED: Final = """
UPDATE push SET status = 'succeeded', version = $3, warnings = $4, logs = $5, completed_at = now()
WHERE id = $1 AND worker = $2 AND status = 'building' RETURNING model_id"""
INSERT: Final = """
INSERT INTO version (queue, id, digest, model_id, cog_version, openapi_schema, files, config, streams)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (model_id, id) DO NOTHING"""
LATEST: Final = """
UPDATE model SET latest_queue = (SELECT queue FROM version WHERE model_id = $1 AND id = $2) WHERE id = $1"""


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `version`; JSON columns are text."""

    queue: str
    id: str
    digest: str  # of its files
    cog_version: str
    openapi_schema: str
    files: str
    config: str
    streams: bool


class PushSuccess(msgspec.Struct, frozen=True, kw_only=True):
    """The success of a push. `new` is None if the model had the version already."""

    version: str
    warnings: tuple[str, ...]
    logs: str
    new: NewVersion | None


async def claim(database: Database, worker: str) -> Row | None:
    return await database.row(CLAIM, worker)


async def save_logs(database: Database, push_id: str, worker: str, logs: str) -> None:
    await database.execute(LOGS, push_id, worker, logs)


async def fail(database: Database, push_id: str, worker: str, error: str, logs: str) -> None:
    await database.execute(FAIL, push_id, worker, error, logs)


async def version_of(database: Database, model_id: str, digest: str) -> str | None:
    """Return the id of the version that the model has of these files."""
    found: str | None = await database.value(KNOWN, model_id, digest)
    return found


async def succeed(database: Database, push_id: str, worker: str, end: PushSuccess) -> bool:
    """Also make the version the model's latest. Return False, and do nothing, if another worker owns the push."""
    async with database.transaction() as connection:
        model_id = await connection.fetchval(SUCCEED, push_id, worker, end.version, list(end.warnings), end.logs)
        if model_id is None:
            return False
        if end.new is not None:
            queue, identifier, digest, *rest = msgspec.structs.astuple(end.new)
            await connection.execute(INSERT, queue, identifier, digest, model_id, *rest)
        await connection.execute(LATEST, model_id, end.version)
    return True
