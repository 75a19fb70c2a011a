"""The SQL of uploaded files. An expired file is never returned, also before the janitor has removed it."""

from typing import Final

from tidemill.gateway.listing.cursors import Cursor, comparison
from tidemill.runtime.db import Database, Row

_FILE: Final = """
SELECT f.id, f.name, f.content_type, f.size, f.md5, f.sha256, f.metadata, f.object_key, f.created_at, f.expires_at
FROM file f"""
_CREATE: Final = """
INSERT INTO file (id, account_id, name, content_type, size, md5, sha256, metadata, object_key, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now(), now() + make_interval(secs => $10))
RETURNING *"""


async def create(database: Database, *values: object) -> Row:
    """`values`: id, account id, name, content type, size, md5, sha256, metadata, object key, lifetime in seconds."""
    row = await database.row(_CREATE, *values)
    assert row is not None, "an INSERT without a condition returns its row"
    return row


async def find(database: Database, file_id: str, account_id: str) -> Row | None:
    return await database.row(
        f"{_FILE} WHERE f.id = $1 AND f.account_id = $2 AND f.expires_at > now()", file_id, account_id
    )


async def page(database: Database, account_id: str, cursor: Cursor | None, limit: int) -> list[Row]:
    operator, order, position = comparison(cursor)
    sql = f"""{_FILE} WHERE f.account_id = $1 AND f.id {operator} $2 AND f.expires_at > now()
        ORDER BY f.id {order} LIMIT $3"""
    return await database.fetch(sql, account_id, position, limit)


async def delete(database: Database, file_id: str, account_id: str) -> None:
    await database.execute("DELETE FROM file WHERE id = $1 AND account_id = $2", file_id, account_id)


async def find_of_owner(database: Database, file_id: str, username: str) -> Row | None:
    """Return the file and the owner's account_id."""
    sql = """SELECT f.name, f.content_type, f.object_key, f.account_id, f.md5, f.sha256
        FROM file f JOIN account a ON a.id = f.account_id
        WHERE f.id = $1 AND a.username = $2 AND f.expires_at > now()"""
    return await database.row(sql, file_id, username)
