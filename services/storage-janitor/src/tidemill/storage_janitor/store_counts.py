"""The SQL of how often models were run: each stretch of accepted predictions is counted once, with the walk's step."""

from typing import Final

from tidemill.runtime.clock import at
from tidemill.runtime.db import Database
from tidemill.storage_janitor.pace import next_stretch
from tidemill.storage_janitor.store import OLDEST

WALK: Final = "run counts"

BEGIN: Final = "INSERT INTO walk (name, reached) VALUES ($1, $2) ON CONFLICT DO NOTHING"
# The lock, and the step in the same transaction, make that nothing is counted twice or left out.
REACHED: Final = "SELECT reached FROM walk WHERE name = $1 FOR UPDATE"
COUNT: Final = """
UPDATE model m SET run_count = m.run_count + c.runs
FROM (
    SELECT split_part(p.model, '/', 1) AS owner, split_part(p.model, '/', 2) AS name, count(*) AS runs
    FROM prediction p WHERE p.accepted_at > $1 AND p.accepted_at <= $2 AND p.kind = 'prediction' GROUP BY p.model) c
WHERE m.owner = c.owner AND m.name = c.name"""
REACH: Final = "UPDATE walk SET reached = $2 WHERE name = $1"


async def count(database: Database, now: float, slice_s: float) -> bool:
    """Counts the next stretch; False when all that is settled has been counted."""
    async with database.transaction() as connection:
        reached = await connection.fetchval(REACHED, WALK)
        if reached is None:
            await connection.execute(BEGIN, WALK, await connection.fetchval(OLDEST))
            return True
        stretch = next_stretch(reached.timestamp(), now, 0, slice_s)
        if stretch is None:
            return False
        await connection.execute(COUNT, reached, at(stretch.until))
        await connection.execute(REACH, WALK, at(stretch.until))
    return True
