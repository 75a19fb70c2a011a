"""Predictions: create in all forms, get, list, cancel."""

from typing import Any

from aiohttp import web

from tidemill.contracts import api, subjects
from tidemill.contracts.access import Scope
from tidemill.contracts.errors import not_found, unprocessable
from tidemill.contracts.events import Cancel
from tidemill.contracts.ids import is_id
from tidemill.contracts.limits import BODY_LIMIT_BYTES
from tidemill.contracts.prediction import TERMINAL, Status
from tidemill.gateway import queries, showing, store
from tidemill.gateway.creation import create as create_prediction
from tidemill.gateway.http import Call, decode, json_response, operation
from tidemill.gateway.pages import page
from tidemill.runtime import outcome
from tidemill.runtime.clock import now
from tidemill.runtime.db import Row

RUNNING = ("Prefer", "Cancel-After")
NO_STORE = {"Cache-Control": "no-store"}  # frameworks that cache GETs would poll their own cache for ever


@operation(
    "predictions.create",
    Scope.PREDICTIONS_WRITE,
    body=api.CreatePrediction,
    headers=RUNNING,
    answer=api.Prediction,
    status=201,
)
async def create(call: Call) -> web.Response:
    """POST /predictions: `version` is 64 hex, owner/name:64hex or owner/name."""
    body = decode(await call.read(BODY_LIMIT_BYTES), api.CreatePrediction)
    if not body.version:
        raise unprocessable("version is required")
    return await create_prediction(call, await call.parts.versions.resolve(call.account, body.version), body)


@operation(
    "models.predictions.create",
    Scope.PREDICTIONS_WRITE,
    body=api.CreatePrediction,
    headers=RUNNING,
    answer=api.Prediction,
    status=201,
)
async def create_for_model(call: Call) -> web.Response:
    """POST /models/{owner}/{name}/predictions: the model's latest version."""
    body = decode(await call.read(BODY_LIMIT_BYTES), api.CreatePrediction)
    runnable = await call.parts.versions.latest(call.account, call.path("owner"), call.path("name"))
    return await create_prediction(call, runnable, body)


@operation("predictions.get", Scope.PREDICTIONS_READ, answer=api.Prediction)
async def get(call: Call) -> web.Response:
    return json_response(await showing.in_full(call, await _own(call)), headers=NO_STORE)


async def _own(call: Call) -> Row:
    prediction_id = call.path("id")
    row = await store.prediction(call.parts.database, prediction_id, call.account.id) if is_id(prediction_id) else None
    if row is None:
        raise not_found()
    return row


@operation("predictions.list", Scope.PREDICTIONS_READ, query=queries.Predictions, answer=api.Page[api.Prediction])
async def list_(call: Call) -> web.Response:
    """GET /predictions: newest first; created_after, created_before and source narrow it."""
    asked = call.asked(queries.Predictions)

    async def fetch(cursor: Any, limit: int) -> list[Row]:
        return await store.predictions(call.parts.database, call.account.id, asked, cursor, limit)

    listed = await page(call, "/predictions", fetch, lambda row: showing.of_row(call, row))
    return json_response(listed, headers=NO_STORE)


@operation("predictions.cancel", Scope.PREDICTIONS_WRITE, answer=api.Prediction)
async def cancel(call: Call) -> web.Response:
    """POST /predictions/{id}/cancel: ends it at once; whoever runs it is told. A finished one is answered unchanged."""
    parts = call.parts
    row = await _own(call)
    # A new attempt may begin between the look and the write; the fence then refuses, and the next round sees it.
    while Status(row["status"]) not in TERMINAL:
        completed_at = now()
        started_at = None if row["started_at"] is None else row["started_at"].timestamp()
        canceled = outcome.Outcome(
            id=row["id"],
            attempt=row["attempt"],
            status=Status.CANCELED,
            metrics=outcome.metrics(started_at, row["created_at"].timestamp(), completed_at),
            completed_at=completed_at,
        )
        ended = await outcome.end(parts.ending, [canceled])
        if row["id"] in ended:
            await parts.bus.send(subjects.CANCEL, Cancel(id=row["id"], attempt=row["attempt"]))
            await outcome.announce(parts.bus, [(ended[row["id"]], canceled)])
        row = await _own(call)
    return json_response(await showing.in_full(call, row), headers=NO_STORE)
