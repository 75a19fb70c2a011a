"""The SQL of trainings. A training is a prediction of another kind; all trainings of a version share one queue."""

from typing import Final

import asyncpg

from tidemill.contracts.errors import not_found
from tidemill.contracts.ids import new_id
from tidemill.gateway.listing.cursors import Cursor, comparison
from tidemill.runtime.db import Database, Row
from tidemill.runtime.streams.urls import JOINS

# DO UPDATE returns an existing row, which DO NOTHING would not.
_QUEUE: Final = """
INSERT INTO training_queue (queue, version_queue) VALUES ($1, $2)
ON CONFLICT (version_queue) DO UPDATE SET version_queue = excluded.version_queue RETURNING queue"""
_LIST: Final = f"""
SELECT p.*, false AS streams, w.secret_inputs, a.retention_s, false AS is_example
FROM prediction p JOIN account a ON a.id = p.account_id {JOINS}
WHERE p.account_id = $1 AND p.kind = 'training' AND p.deleted_at IS NULL"""


async def ensure_queue(database: Database, version_queue: str) -> str:
    """Return the queue of the version's trainings, and create it with the first. Raise the 404 problem."""
    try:
        found: str = await database.value(_QUEUE, new_id(), version_queue)
    except asyncpg.ForeignKeyViolationError:
        raise not_found() from None
    return found


async def page(database: Database, account_id: str, cursor: Cursor | None, limit: int) -> list[Row]:
    operator, order, position = comparison(cursor)
    return await database.fetch(
        f"{_LIST} AND p.id {operator} $2 ORDER BY p.id {order} LIMIT $3", account_id, position, limit
    )
