"""Responses to repeated creates: the earlier prediction as it is now, or as it ends if the client waits."""

from typing import Protocol

from aiohttp import web

from tidemill.contracts.errors import conflict
from tidemill.contracts.prediction import TERMINAL, Status
from tidemill.gateway import stores
from tidemill.gateway.call import Call, json_response
from tidemill.gateway.predictions.waiting import Waiters, ended_within
from tidemill.gateway.protocols import HasDatabase
from tidemill.gateway.responses import prediction_serializer
from tidemill.gateway.responses.prediction_serializer import SerializerParts
from tidemill.runtime import serializers
from tidemill.runtime.db import Row

REPLAYED = {"Idempotent-Replayed": "true"}


class ReplayParts(HasDatabase, SerializerParts, Protocol):
    @property
    def waiters(self) -> Waiters: ...


async def respond(
    call: Call[ReplayParts], prediction_id: str, wait: float | None, headers: dict[str, str]
) -> web.Response:
    """`wait` in seconds, None for not at all. After it the status is `starting`, as in any create."""
    row = await _row(call, prediction_id) if wait is None else await _ended(call, prediction_id, wait)
    prediction = await prediction_serializer.in_detail(call, row)
    if wait is not None and prediction.status is Status.PROCESSING:
        prediction.status, prediction.output = Status.STARTING, serializers.NULL
    return json_response(prediction, 201, {**headers, **REPLAYED})


async def _ended(call: Call[ReplayParts], prediction_id: str, wait: float) -> Row:
    """Return the row when it has ended, or after `wait` seconds."""
    waiters = call.parts.waiters
    ended = waiters.expect(prediction_id)
    try:
        row = await _row(call, prediction_id)
        if Status(row["status"]) in TERMINAL:
            return row
        await ended_within(ended, wait)
    finally:
        waiters.forget(prediction_id, ended)
    return await _row(call, prediction_id)


async def _row(call: Call[ReplayParts], prediction_id: str) -> Row:
    row = await stores.predictions.find(call.parts.database, prediction_id, call.account.id, kind=None)
    if row is None:
        raise conflict("The prediction that this request has made before was deleted.")
    return row
