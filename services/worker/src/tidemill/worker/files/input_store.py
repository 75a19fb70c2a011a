"""Reads the rows of uploaded files that inputs name."""

from typing import Final

from tidemill.runtime.db import Database, Row

FILE: Final = """
SELECT name, content_type, object_key FROM file WHERE id = $1 AND account_id = $2 AND expires_at > now()"""


async def uploaded_file(database: Database, file_id: str, account: str) -> Row | None:
    """Return the row, or None if there is no such file or another account owns it."""
    return await database.row(FILE, file_id, account)
