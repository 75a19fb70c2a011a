"""The SQL of boots, which workers record."""

from typing import Final

from tidemill.runtime.db import Database, Row

_OF_VERSION: Final = """
SELECT instance, began_at, ready_at, error, phases::text AS phases, logs FROM boot
WHERE version_queue = $1 ORDER BY began_at DESC, instance"""


async def boots(database: Database, queue: str) -> list[Row]:
    """Of the version with this queue, the newest first."""
    return await database.fetch(_OF_VERSION, queue)
