"""The SQL of uploaded files, as far as predictions use them."""

from typing import Final

from tidemill.runtime.db import Database, Row

FILE: Final = """
SELECT name, content_type, object_key FROM file WHERE id = $1 AND account_id = $2 AND expires_at > now()"""


async def uploaded_file(database: Database, file_id: str, account: str) -> Row | None:
    """None for what does not exist and for what is somebody else's: nobody can tell them apart."""
    return await database.row(FILE, file_id, account)
