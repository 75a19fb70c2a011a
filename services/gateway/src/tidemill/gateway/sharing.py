"""Predictions that their owner shares: everybody may read them, and their data is kept for as long as they are shared.

What others see never holds a secret input, a webhook or anything that only the owner can use.
"""

from typing import Final

from msgspec import UNSET

from tidemill.contracts import api
from tidemill.gateway import redaction, showing, store
from tidemill.gateway.http import Call
from tidemill.runtime.db import Database, Row

# A prediction whose data is due this soon may be in the janitor's hands already.
MARGIN_S: Final = 10
SHARE: Final = """
UPDATE prediction p SET shared_at = COALESCE(p.shared_at, clock_timestamp())
WHERE p.id = $1 AND p.deleted_at IS NULL AND NOT p.data_removed
    AND (p.shared_at IS NOT NULL OR p.source <> 'api' OR p.completed_at IS NULL
        OR p.completed_at + make_interval(secs => $2::float8) > clock_timestamp()
        OR EXISTS (SELECT FROM example e WHERE e.prediction_id = p.id))
RETURNING p.id"""
UNSHARE: Final = "UPDATE prediction SET shared_at = NULL WHERE id = $1 AND shared_at IS NOT NULL"
# The janitor's walk may have passed it while it was shared.
HAND_BACK: Final = "INSERT INTO removal_due_later VALUES ($1) ON CONFLICT DO NOTHING"


async def share(database: Database, prediction_id: str, kept_s: float) -> bool:
    """False when its data is gone, or as good as gone: `kept_s` after completion."""
    return await database.value(SHARE, prediction_id, kept_s - MARGIN_S) is not None


async def unshare(database: Database, prediction_id: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(UNSHARE, prediction_id)
        await connection.execute(HAND_BACK, prediction_id)


async def as_others_see(call: Call, row: Row) -> api.Prediction:
    prediction = await showing.in_full(call, row)
    properties = await store.input_properties(call.parts.database, row["model"], row["version"])
    prediction.input = redaction.redacted(prediction.input, properties)
    prediction.webhook = prediction.webhook_events_filter = prediction.deployment = UNSET
    prediction.urls.stream = UNSET
    return prediction
