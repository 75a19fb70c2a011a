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
from tidemill.runtime.db import Row
from tidemill.runtime.predictions.sharing import replace_input
from tidemill.security.delivery_urls import IGNORE_EXPIRY, find_object_key

GONE: Final = 409  # of the problem for an input file that is missing


class SharingParts(InputFileParts, SerializerParts, Protocol): ...


async def keep_input_files(call: Call[SharingParts], row: Row) -> None:
    """Copies the files that the input of an ended prediction names to where they stay: uploads live for a day.

    A file that is gone already is no reason not to share the rest. Raises the 503 problem.
    """
    if Status(row["status"]) not in TERMINAL or f"/{row['id']}/" in _keys(call, row["input"]):
        return
    try:
        rewritten = await input_files.copy_input_files(call, row["id"], row["input"])
    except Problem as problem:
        if problem.status != GONE:
            raise
        return
    if rewritten is not None:
        await replace_input(call.parts.database, row["id"], rewritten)


def _keys(call: Call[SharingParts], text: str) -> str:
    """The objects that an input names, joined."""
    urls = input_files.strings(msgspec.json.decode(text))
    return " ".join(filter(None, (find_object_key([call.parts.signing_key], url, IGNORE_EXPIRY) for url in urls)))


async def as_others_see(call: Call[SharingParts], row: Row) -> Prediction:
    prediction = await prediction_serializer.in_detail(call, row)
    properties = await stores.predictions.input_properties(call.parts.database, row["model"], row["version"])
    prediction.input = redaction.redacted(prediction.input, properties)
    UrlRenewer(call.parts.signing_key, call.public_url, now()).prediction(prediction)  # copies of what the input names
    prediction.webhook = prediction.webhook_events_filter = prediction.deployment = UNSET
    prediction.urls.stream = UNSET
    return prediction
