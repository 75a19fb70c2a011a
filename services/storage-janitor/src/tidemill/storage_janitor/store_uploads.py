"""The SQL of uploads: files, pushes, and the blobs that pushes and versions refer to."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from tidemill.runtime.clock import at
from tidemill.runtime.db import Database

BATCH: Final = 500
ABANDONED: Final = "The files were not uploaded within a day."

EXPIRED: Final = "SELECT id, object_key FROM file WHERE expires_at <= clock_timestamp() ORDER BY expires_at LIMIT $1"
DELETE_FILES: Final = "DELETE FROM file WHERE id = ANY ($1)"
NAMED: Final = "SELECT object_key FROM file WHERE object_key = ANY ($1)"

ABANDON: Final = """
UPDATE push SET status = 'failed', error = $2, completed_at = clock_timestamp()
WHERE status = 'uploading' AND created_at < $1 RETURNING id"""

_OPEN: Final = "('uploading', 'queued', 'building')"
CLOCK: Final = "SELECT clock_timestamp()"
UNREFERENCED: Final = f"""
WITH referenced AS (
    SELECT f ->> 'sha256' AS digest FROM version v, json_array_elements(v.files) f
    UNION SELECT f ->> 'sha256' FROM push p, json_array_elements(p.files) f WHERE p.status IN {_OPEN})
SELECT DISTINCT b.digest FROM blob b
WHERE b.created_at < $1 AND NOT EXISTS (SELECT FROM referenced r WHERE r.digest = b.digest)"""

# A push is committed before it reads which of its blobs are missing. No push can commit while this lock is held, so it
# is either seen here or reads after the rows are deleted. Only rows newer than the first check need a second one.
LOCK: Final = "LOCK TABLE push IN SHARE MODE"
LOCK_LIMIT: Final = "SET LOCAL lock_timeout = '2s'"  # pushes queue behind a waiting lock
DELETE_BLOBS: Final = f"""
WITH referenced AS (
    SELECT f ->> 'sha256' AS digest FROM version v, json_array_elements(v.files) f
    WHERE v.created_at > $2::timestamptz - interval '2 minutes'
    UNION SELECT f ->> 'sha256' FROM push p, json_array_elements(p.files) f
    WHERE p.status IN {_OPEN} OR p.created_at > $2::timestamptz - interval '2 minutes')
DELETE FROM blob b WHERE b.digest = ANY ($1) AND b.created_at < $3
    AND NOT EXISTS (SELECT FROM referenced r WHERE r.digest = b.digest)
RETURNING b.digest"""

OWNED: Final = "SELECT DISTINCT digest FROM blob WHERE digest = ANY ($1)"
OWNED_OR_REFERENCED: Final = f"""
SELECT digest FROM blob WHERE digest = ANY ($1)
UNION SELECT f ->> 'sha256' FROM version v, json_array_elements(v.files) f WHERE f ->> 'sha256' = ANY ($1)
UNION SELECT f ->> 'sha256' FROM push p, json_array_elements(p.files) f
WHERE p.status IN {_OPEN} AND f ->> 'sha256' = ANY ($1)"""
DELETE_BLOB_ROWS: Final = "DELETE FROM blob WHERE digest = ANY ($1)"


class ExpiredFile(NamedTuple):
    id: str
    key: str


class UnreferencedBlobs(NamedTuple):
    """Digests that nothing referenced to at `checked_at`."""

    digests: list[str]
    checked_at: datetime


async def expired(database: Database) -> list[ExpiredFile]:
    """Return expired files, at most BATCH."""
    return [ExpiredFile(row["id"], row["object_key"]) for row in await database.fetch(EXPIRED, BATCH)]


async def delete_files(database: Database, files: Sequence[str]) -> None:
    await database.execute(DELETE_FILES, list(files))


async def keys_in_use(database: Database, keys: Sequence[str]) -> set[str]:
    """Return the keys that a row of a file names."""
    return {row["object_key"] for row in await database.fetch(NAMED, list(keys))}


async def fail_abandoned(database: Database, created_before: float) -> int:
    """Fail pushes that have waited too long for their files. Return how many."""
    return len(await database.fetch(ABANDON, at(created_before), ABANDONED))


async def unreferenced_blobs(database: Database, created_before: float) -> UnreferencedBlobs:
    checked_at = await database.value(CLOCK)
    rows = await database.fetch(UNREFERENCED, at(created_before))
    return UnreferencedBlobs([row["digest"] for row in rows], checked_at)


async def delete_blobs(database: Database, found: UnreferencedBlobs, created_before: float) -> int:
    """Delete the rows that are still unreferenced. Raise LockNotAvailableError while pushes hold the table."""
    async with database.transaction() as connection:
        await connection.execute(LOCK_LIMIT)
        await connection.execute(LOCK)
        rows = await connection.fetch(DELETE_BLOBS, found.digests, found.checked_at, at(created_before))
    return len(rows)


async def owned(database: Database, digests: Sequence[str]) -> set[str]:
    """Return the digests that some account owns."""
    return {row["digest"] for row in await database.fetch(OWNED, list(digests))}


async def owned_or_referenced(database: Database, digests: Sequence[str]) -> set[str]:
    return {row["digest"] for row in await database.fetch(OWNED_OR_REFERENCED, list(digests))}


async def delete_blob_rows(database: Database, digests: Sequence[str]) -> None:
    """Delete rows of blobs whose bytes are gone, so that the next push uploads them again."""
    await database.execute(DELETE_BLOB_ROWS, list(digests))
