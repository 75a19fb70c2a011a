"""Removal: what deliveries hold of a prediction's data goes with that data."""

from collections.abc import Sequence
from typing import Any, Final

from tidemill.runtime.db import Database

# What receivers answered goes too: it may quote what they were sent.
_LOG_WITHOUT_RESPONSES: Final = """COALESCE((
    SELECT jsonb_agg(entry - 'response' ORDER BY n)
    FROM jsonb_array_elements(d.log) WITH ORDINALITY AS t (entry, n)), '[]')"""
ABANDON: Final = f"""
UPDATE webhook_delivery d SET body = NULL, leased_until = NULL, log = {_LOG_WITHOUT_RESPONSES},
    last_error = CASE d.status WHEN 'pending' THEN 'The prediction was deleted.' ELSE d.last_error END,
    completed_at = COALESCE(d.completed_at, clock_timestamp()),
    status = CASE d.status WHEN 'pending' THEN 'failed' ELSE d.status END
WHERE d.prediction_id = $1"""
CLEAR: Final = f"""
UPDATE webhook_delivery d SET body = NULL, log = {_LOG_WITHOUT_RESPONSES}
WHERE d.prediction_id = ANY ($1) AND d.status <> 'pending' AND d.body IS NOT NULL
    AND NOT EXISTS (SELECT FROM prediction p WHERE p.id = d.prediction_id AND NOT p.data_removed)"""

PURGE: Final = """
DELETE FROM webhook_delivery WHERE id IN (
    SELECT id FROM webhook_delivery WHERE id < $1 AND status <> 'pending' ORDER BY id LIMIT $2) RETURNING id"""


async def abandon(connection: Any, prediction: str) -> None:
    """Remove the data of the prediction's deliveries, and try none of them any more.

    Callers: predictions.deletion, in the transaction that deletes the prediction.
    Fence: none; the lease of a try that is under way is taken away, so that its result changes nothing.
    Cost: the prediction's deliveries, by the index on prediction_id.
    """
    await connection.execute(ABANDON, prediction)


async def clear(connection: Any, predictions: Sequence[str]) -> None:
    """Remove the data of the finished deliveries of predictions whose data is gone.

    A delivery that is still tried keeps its body, so that retries send the same bytes.

    Callers: predictions.removal, in the transaction that removes the predictions' data.
    Fence: the status; `data_removed` of the prediction, or its absence.
    Cost: the predictions' deliveries, by the index on prediction_id.
    """
    await connection.execute(CLEAR, list(predictions))


async def purge(database: Database, before: str, limit: int) -> int:
    """Delete finished deliveries with ids below `before`, at most `limit`. Return how many.

    Callers: dispatchers. Fence: the status. Cost: `limit` rows, in the order of the primary key.
    """
    return len(await database.fetch(PURGE, before, limit))
