"""The SQL of how often models were run: each window of accepted predictions is counted once."""

from typing import Final

from tidemill.runtime.clock import at
from tidemill.runtime.db import Database
from tidemill.runtime.scan import advance_locked_watermark, lock_watermark
from tidemill.storage_janitor.pace import next_window

SCAN: Final = "run counts"  # the name of its watermark

COUNT: Final = """
UPDATE model m SET run_count = m.run_count + c.runs
FROM (
    SELECT split_part(p.model, '/', 1) AS owner, split_part(p.model, '/', 2) AS name, count(*) AS runs
    FROM prediction p WHERE p.accepted_at > $1 AND p.accepted_at <= $2 AND p.kind = 'prediction' GROUP BY p.model) c
WHERE m.owner = c.owner AND m.name = c.name"""


async def count(database: Database, now: float, length_s: float) -> bool:
    """Count the next window. Return False if all that is settled has been counted.

    The lock, and the watermark in the same transaction, see to it that each run is counted once.
    """
    async with database.transaction() as connection:
        watermark = await lock_watermark(connection, SCAN)
        if watermark is None:
            return True
        window = next_window(watermark, now, 0, length_s)
        if window is None:
            return False
        await connection.execute(COUNT, at(watermark), at(window.until))
        await advance_locked_watermark(connection, SCAN, window.until)
    return True
