"""The SQL of what was uploaded: files, pushes, and the blobs that pushes and versions refer to."""

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
UNREFERRED: Final = f"""
WITH referred AS (
    SELECT f ->> 'sha256' AS digest FROM version v, json_array_elements(v.files) f
    UNION SELECT f ->> 'sha256' FROM push p, json_array_elements(p.files) f WHERE p.status IN {_OPEN})
SELECT DISTINCT b.digest FROM blob b
WHERE b.created_at < $1 AND NOT EXISTS (SELECT FROM referred r WHERE r.digest = b.digest)"""

# A push is committed before it asks which of its blobs are missing. While the lock is held none can be: it is either
# seen here, or it asks after the rows have gone. Only what is newer than the first look needs a second one.
LOCK: Final = "LOCK TABLE push IN SHARE MODE"
LOCK_LIMIT: Final = "SET LOCAL lock_timeout = '2s'"  # pushes wait behind a lock that waits
DELETE_BLOBS: Final = f"""
WITH referred AS (
    SELECT f ->> 'sha256' AS digest FROM version v, json_array_elements(v.files) f
    WHERE v.created_at > $2::timestamptz - interval '2 minutes'
    UNION SELECT f ->> 'sha256' FROM push p, json_array_elements(p.files) f
    WHERE p.status IN {_OPEN} OR p.created_at > $2::timestamptz - interval '2 minutes')
DELETE FROM blob b WHERE b.digest = ANY ($1) AND b.created_at < $3
    AND NOT EXISTS (SELECT FROM referred r WHERE r.digest = b.digest)
RETURNING b.digest"""

OWNED: Final = "SELECT DISTINCT digest FROM blob WHERE digest = ANY ($1)"
OWNED_OR_REFERRED: Final = f"""
SELECT digest FROM blob WHERE digest = ANY ($1)
UNION SELECT f ->> 'sha256' FROM version v, json_array_elements(v.files) f WHERE f ->> 'sha256' = ANY ($1)
UNION SELECT f ->> 'sha256' FROM push p, json_array_elements(p.files) f
WHERE p.status IN {_OPEN} AND f ->> 'sha256' = ANY ($1)"""
UNOWN: Final = "DELETE FROM blob WHERE digest = ANY ($1)"


class Expired(NamedTuple):
    id: str
    key: str


class Unreferred(NamedTuple):
    """Digests that nothing referred to when they were looked at."""

    digests: list[str]
    looked_at: datetime


async def expired(database: Database) -> list[Expired]:
    """At most BATCH files past their time."""
    return [Expired(row["id"], row["object_key"]) for row in await database.fetch(EXPIRED, BATCH)]


async def delete_files(database: Database, files: Sequence[str]) -> None:
    await database.execute(DELETE_FILES, list(files))


async def named(database: Database, keys: Sequence[str]) -> set[str]:
    """Those of the keys that a file's row names."""
    return {row["object_key"] for row in await database.fetch(NAMED, list(keys))}


async def abandon(database: Database, created_before: float) -> int:
    """Fails pushes that have waited for their files for too long; answers how many."""
    return len(await database.fetch(ABANDON, at(created_before), ABANDONED))


async def unreferred(database: Database, created_before: float) -> Unreferred:
    looked_at = await database.value(CLOCK)
    rows = await database.fetch(UNREFERRED, at(created_before))
    return Unreferred([row["digest"] for row in rows], looked_at)


async def delete_blobs(database: Database, found: Unreferred, created_before: float) -> int:
    """Removes the rows that nothing refers to still. Raises LockNotAvailableError while pushes are busy."""
    async with database.transaction() as connection:
        await connection.execute(LOCK_LIMIT)
        await connection.execute(LOCK)
        rows = await connection.fetch(DELETE_BLOBS, found.digests, found.looked_at, at(created_before))
    return len(rows)


async def owned(database: Database, digests: Sequence[str]) -> set[str]:
    """Those that some account has."""
    return {row["digest"] for row in await database.fetch(OWNED, list(digests))}


async def owned_or_referred(database: Database, digests: Sequence[str]) -> set[str]:
    return {row["digest"] for row in await database.fetch(OWNED_OR_REFERRED, list(digests))}


async def unown(database: Database, digests: Sequence[str]) -> None:
    """The bytes are gone: whoever pushes the file is to upload it again."""
    await database.execute(UNOWN, list(digests))
