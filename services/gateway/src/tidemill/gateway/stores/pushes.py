"""The SQL of pushes and of the files that they consist of.

Files are never shared between accounts: an account must upload each file itself, so that knowing a digest does not give
access to the file of another account.
"""

from typing import Final, NamedTuple

from tidemill.runtime.db import Database, Row
from tidemill.runtime.push_queue import SQL_WAITING

_PUSH: Final = """
SELECT p.id, m.owner || '/' || m.name AS model, p.status, p.version, p.error, p.warnings, p.logs, p.created_at,
    p.completed_at
FROM push p JOIN model m ON m.id = p.model_id WHERE p.id = $1 AND p.account_id = $2"""
# A blob of another size counts as missing: otherwise a push could understate its size.
_MISSING: Final = """
SELECT DISTINCT f ->> 'sha256' AS digest FROM push p, json_array_elements(p.files) f
WHERE p.id = $1 AND NOT EXISTS (
    SELECT 1 FROM blob b
    WHERE b.account_id = p.account_id AND b.digest = f ->> 'sha256' AND b.size = (f ->> 'size')::bigint)
ORDER BY 1"""
_CREATE: Final = "INSERT INTO push (id, account_id, model_id, status, files) VALUES ($1, $2, $3, 'uploading', $4)"
# The lock serializes the counts: the next statement sees what the transaction before has queued.
_LOCK: Final = "SELECT FROM account WHERE id = $1 FOR NO KEY UPDATE"
_QUEUE: Final = """
UPDATE push SET status = 'queued' WHERE id = $1 AND status = 'uploading' AND ($3::int IS NULL OR $3 > (
    SELECT count(*) FROM push WHERE account_id = $2 AND status IN ('queued', 'building')))"""
_OPEN: Final = """
SELECT count(*) FILTER (WHERE status = 'uploading') AS uploading,
    count(*) FILTER (WHERE status <> 'uploading') AS waiting
FROM push WHERE account_id = $1 AND status IN ('uploading', 'queued', 'building')"""
_QUEUE_POSITION: Final = f"WITH {SQL_WAITING} SELECT place FROM waiting_push WHERE id = $1"
_ADD_BLOB: Final = "INSERT INTO blob (account_id, digest, size) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_HAS_BLOB: Final = "SELECT true FROM blob WHERE account_id = $1 AND digest = $2"


class OpenPushes(NamedTuple):
    """Numbers of an account's open pushes: those whose files are being uploaded, and those queued or being built."""

    uploading: int
    waiting: int


async def create(database: Database, push_id: str, account_id: str, model_id: str, files: str) -> None:
    await database.execute(_CREATE, push_id, account_id, model_id, files)


async def find(database: Database, push_id: str, account_id: str) -> Row | None:
    return await database.row(_PUSH, push_id, account_id)


async def missing_digests(database: Database, push_id: str) -> list[str]:
    """Return the digests that the account has still to upload."""
    return [row["digest"] for row in await database.fetch(_MISSING, push_id)]


async def enqueue(database: Database, push_id: str, account_id: str, limit: int | None) -> None:
    """Queue the push for the workers, unless it was queued before or the account has `limit` queued or being built."""
    async with database.transaction() as connection:
        await connection.execute(_LOCK, account_id)
        await connection.execute(_QUEUE, push_id, account_id, limit)


async def count_open(database: Database, account_id: str) -> OpenPushes:
    row = await database.row(_OPEN, account_id)
    assert row is not None  # an aggregate
    return OpenPushes(row["uploading"], row["waiting"])


async def queue_position(database: Database, push_id: str) -> int | None:
    """Return the position among the queued pushes, 1 for the next one. None if the push is not queued."""
    found: int | None = await database.value(_QUEUE_POSITION, push_id)
    return found


async def has_blob(database: Database, account_id: str, digest: str) -> bool:
    return bool(await database.value(_HAS_BLOB, account_id, digest))


async def add_blob(database: Database, account_id: str, digest: str, size: int) -> None:
    await database.execute(_ADD_BLOB, account_id, digest, size)
