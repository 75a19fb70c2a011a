"""Shared predictions: everybody may read them, and their data is kept while they are shared.

Others never see a secret input, a webhook, or anything that only the owner can use.
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

GONE: Final = 409  # the status for a missing input file


class SharingParts(InputFileParts, SerializerParts, Protocol): ...


async def keep_input_files(call: Call[SharingParts], row: Row) -> None:
    """Copy the files in the input of an ended prediction: an upload is deleted after a day.

    A missing file does not prevent sharing. Raise the 503 problem.
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
    """Return the keys of the objects that an input refers to, joined by spaces."""
    urls = input_files.strings(msgspec.json.decode(text))
    return " ".join(filter(None, (find_object_key([call.parts.signing_key], url, IGNORE_EXPIRY) for url in urls)))


async def as_others_see(call: Call[SharingParts], row: Row) -> Prediction:
    prediction = await prediction_serializer.in_detail(call, row)
    properties = await stores.versions.find_input_properties(call.parts.database, row["model"], row["version"])
    prediction.input = redaction.redacted(prediction.input, properties)
    UrlRenewer(call.parts.signing_key, call.public_url, now()).prediction(prediction)  # of the copied input files
    prediction.webhook = prediction.webhook_events_filter = prediction.deployment = UNSET
    prediction.urls.stream = UNSET
    return prediction
