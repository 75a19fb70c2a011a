"""The SQL of pushes. A version appears with the push's success, in one transaction, or not at all."""

from typing import Final

from tidemill.runtime.db import Database, Row

# A push whose builder's lease has gone is taken over.
CLAIM: Final = """
UPDATE push SET status = 'building', worker = $1, logs = '' WHERE id = (
    SELECT p.id FROM push p LEFT JOIN worker w ON w.id = p.worker AND w.lease_until > now()
    WHERE p.status = 'queued' OR (p.status = 'building' AND w.id IS NULL)
    ORDER BY p.created_at LIMIT 1 FOR UPDATE OF p SKIP LOCKED)
RETURNING id, account_id, model_id, files"""
LOGS: Final = "UPDATE push SET logs = $3 WHERE id = $1 AND worker = $2 AND status = 'building'"
FAIL: Final = """
UPDATE push SET status = 'failed', error = $3, logs = $4, completed_at = now()
WHERE id = $1 AND worker = $2 AND status = 'building'"""
SUCCEED: Final = """
UPDATE push SET status = 'succeeded', version = $3, warnings = $4, logs = $5, completed_at = now()
WHERE id = $1 AND worker = $2 AND status = 'building' RETURNING model_id"""
INSERT: Final = """
INSERT INTO version (queue, id, model_id, cog_version, openapi_schema, files, config, streams)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (model_id, id) DO UPDATE SET id = EXCLUDED.id RETURNING queue"""
LATEST: Final = "UPDATE model SET latest_queue = $2 WHERE id = $1"


async def claim(database: Database, worker: str) -> Row | None:
    return await database.row(CLAIM, worker)


async def save_logs(database: Database, push_id: str, worker: str, logs: str) -> None:
    await database.execute(LOGS, push_id, worker, logs)


async def fail(database: Database, push_id: str, worker: str, error: str, logs: str) -> None:
    await database.execute(FAIL, push_id, worker, error, logs)


async def succeed(  # noqa: PLR0917 - the columns of two rows
    database: Database,
    push_id: str,
    worker: str,
    version: tuple[str, str, str, str, str, str, bool],
    warnings: list[str],
    logs: str,
) -> bool:
    """`version` is (queue, id, cog_version, openapi_schema, files, config, streams); False when the push was lost."""
    queue, identifier, *rest = version
    async with database.transaction() as connection:
        model_id = await connection.fetchval(SUCCEED, push_id, worker, identifier, warnings, logs)
        if model_id is None:
            return False
        taken = await connection.fetchval(INSERT, queue, identifier, model_id, *rest)
        await connection.execute(LATEST, model_id, taken)
    return True
