"""Predictions that their owner shares: everybody may read them, and their data is kept for as long as they are shared.

What others see never holds a secret input, a webhook or anything that only the owner can use.
"""

from typing import Final, Protocol

import msgspec
from msgspec import UNSET

from tidemill.contracts.api.predictions import Prediction
from tidemill.contracts.errors import Problem
from tidemill.contracts.prediction import TERMINAL, Status
from tidemill.gateway import stores
from tidemill.gateway.call import Call
from tidemill.gateway.responses import input_files, prediction_serializer, redaction
from tidemill.gateway.responses.input_files import InputFileParts
from tidemill.gateway.responses.prediction_serializer import SerializerParts
from tidemill.gateway.responses.url_renewal import UrlRenewer
from tidemill.runtime.clock import now
from tidemill.runtime.db import Database, Row
from tidemill.security.delivery_urls import IGNORE_EXPIRY, find_object_key

# A prediction whose data is due this soon may be in the janitor's hands already.
MARGIN_S: Final = 10
SHARE: Final = """
UPDATE prediction p SET shared_at = COALESCE(p.shared_at, clock_timestamp())
WHERE p.id = $1 AND p.deleted_at IS NULL AND NOT p.data_removed
    AND (p.shared_at IS NOT NULL OR p.source <> 'api' OR p.completed_at IS NULL
        OR p.completed_at + make_interval(secs => $2::float8) > clock_timestamp()
        OR EXISTS (SELECT FROM example e WHERE e.prediction_id = p.id))
RETURNING p.id"""
REWRITE: Final = "UPDATE prediction SET input = $2 WHERE id = $1 AND NOT data_removed"
GONE: Final = 409  # how a missing input file is told
UNSHARE: Final = "UPDATE prediction SET shared_at = NULL WHERE id = $1 AND shared_at IS NOT NULL"
# The janitor's walk may have passed it while it was shared.
HAND_BACK: Final = "INSERT INTO removal_due_later VALUES ($1) ON CONFLICT DO NOTHING"


class SharingParts(InputFileParts, SerializerParts, Protocol): ...


async def share(database: Database, prediction_id: str, kept_s: float) -> bool:
    """False when its data is gone, or as good as gone: `kept_s` after completion."""
    return await database.value(SHARE, prediction_id, kept_s - MARGIN_S) is not None


async def keep_input_files(call: Call[SharingParts], row: Row) -> None:
    """Copies the files that the input of an ended prediction names to where they stay: uploads live for a day.

    A file that is gone already is no reason not to share the rest. Raises the 503 problem.
    """
    if Status(row["status"]) not in TERMINAL or f"/{row['id']}/" in _keys(call, row["input"]):
        return
    try:
        rewritten = await input_files.kept(call, row["id"], row["input"])
    except Problem as problem:
        if problem.status != GONE:
            raise
        return
    if rewritten is not None:
        await call.parts.database.execute(REWRITE, row["id"], rewritten)


def _keys(call: Call[SharingParts], text: str) -> str:
    """The objects that an input names, joined."""
    urls = input_files.texts(msgspec.json.decode(text))
    return " ".join(filter(None, (find_object_key([call.parts.signing_key], url, IGNORE_EXPIRY) for url in urls)))


async def unshare(database: Database, prediction_id: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(UNSHARE, prediction_id)
        await connection.execute(HAND_BACK, prediction_id)


async def as_others_see(call: Call[SharingParts], row: Row) -> Prediction:
    prediction = await prediction_serializer.in_full(call, row)
    properties = await stores.predictions.input_properties(call.parts.database, row["model"], row["version"])
    prediction.input = redaction.redacted(prediction.input, properties)
    UrlRenewer(call.parts.signing_key, call.public_url, now()).prediction(prediction)  # copies of what the input names
    prediction.webhook = prediction.webhook_events_filter = prediction.deployment = UNSET
    prediction.urls.stream = UNSET
    return prediction
