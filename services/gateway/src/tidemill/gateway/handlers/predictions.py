"""Predictions: create in all forms, get, list, cancel."""

import asyncio
import math
import re
from typing import Any

from aiohttp import web
from msgspec import UNSET, Raw, UnsetType

from tidemill.contracts import api, subjects
from tidemill.contracts.access import Scope
from tidemill.contracts.errors import not_found, unprocessable
from tidemill.contracts.events import Cancel, Lifecycle
from tidemill.contracts.ids import is_id, new_id
from tidemill.contracts.limits import BODY_LIMIT_BYTES, WAIT_LIMIT_S
from tidemill.contracts.prediction import TERMINAL, Status
from tidemill.gateway import files_in_output, queries, store, streams
from tidemill.gateway.accept import Accepted
from tidemill.gateway.clients import status_for
from tidemill.gateway.http import Call, decode, json_response, operation
from tidemill.gateway.pages import page
from tidemill.gateway.preferences import cancel_after_s, wait_s
from tidemill.gateway.validation import decode_input
from tidemill.gateway.versions import Runnable
from tidemill.runtime import outcome, present
from tidemill.runtime.clock import now, rfc3339
from tidemill.runtime.db import Row
from tidemill.runtime.telemetry import span

TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
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
    return await _create(call, await call.parts.versions.resolve(call.account, body.version), body)


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
    return await _create(call, runnable, body)


async def _create(call: Call, runnable: Runnable, body: api.CreatePrediction) -> web.Response:
    headers = call.request.headers
    prefer = headers.get("Prefer")
    wait, cancel_after = wait_s(prefer), cancel_after_s(headers.get("Cancel-After"))
    raw = bytes(body.input)
    runnable.check(decode_input(raw))
    webhook = body.webhook or body.webhook_completed
    if webhook is not None and not webhook.startswith(("https://", "http://")):
        raise unprocessable("webhook must be an http or https URL")
    created_at = math.floor(now() * 1000) / 1000  # as it is on the wire, so that created_before means what it says
    with span("create prediction", _traceparent(headers.get("traceparent"))) as traceparent:
        accepted = Accepted(
            id=new_id(),
            account_id=call.account.id,
            model=runnable.model,
            version=runnable.version,
            queue=runnable.queue,
            source="api",
            input=raw,
            webhook=webhook,
            webhook_events=_events(body),
            deadline=None if cancel_after is None else created_at + cancel_after,
            created_at=created_at,
            traceparent=traceparent,
        )
        location = {"Location": f"{call.parts.api_url}/predictions/{accepted.id}"}
        if wait is None:
            await call.parts.acceptor.accept(accepted)
            return json_response(_starting(call, accepted, runnable.streams), 201, location)
        location["Preference-Applied"] = "wait" if wait + 2 > WAIT_LIMIT_S else f"wait={wait:g}"
        return await _wait(call, accepted, runnable, wait, location)


def _traceparent(header: str | None) -> str | None:
    """W3C trace context goes on to the model; what is none stays here."""
    return header if header and TRACEPARENT.fullmatch(header) else None


def _events(body: api.CreatePrediction) -> list[str] | None:
    if body.webhook is None and body.webhook_completed is not None:
        return ["completed"]
    return None if body.webhook_events_filter is None else list(body.webhook_events_filter)


async def _wait(
    call: Call, accepted: Accepted, runnable: Runnable, wait: float, headers: dict[str, str]
) -> web.Response:
    """Answers when the prediction has ended, or `starting` when the wait is over: clients take every other status of a
    blocking create for the end.
    """
    waiters = call.parts.waiters
    ended = waiters.expect(accepted.id)
    try:
        await call.parts.acceptor.accept(accepted)
        async with asyncio.timeout(wait):
            event = await ended
    except TimeoutError:
        return json_response(_starting(call, accepted, runnable.streams), 201, headers)
    finally:
        waiters.forget(accepted.id)
    if event is None or event.partial:
        row = await store.prediction(call.parts.database, accepted.id, call.account.id)
        if row is None:
            raise not_found()
        return json_response(await _present(call, row), 201, headers)
    prediction = _finish(call, _starting(call, accepted, runnable.streams), event)
    return json_response(await files_in_output.for_client(call, prediction), 201, headers)


def _starting(call: Call, accepted: Accepted, streams_output: bool) -> api.Prediction:  # noqa: FBT001 - one place
    parts = call.parts
    return api.Prediction(
        id=accepted.id,
        model=accepted.model,
        version=accepted.version,
        input=Raw(accepted.input),
        logs="",
        output=present.NULL,
        data_removed=False,
        error=None,
        status=Status.STARTING,
        source=accepted.source,
        created_at=rfc3339(accepted.created_at),
        deadline=UNSET if accepted.deadline is None else rfc3339(accepted.deadline),
        urls=present.urls(
            accepted.id,
            parts.config.public_url,
            streams.url(parts, accepted.id, accepted.created_at) if streams_output else None,
        ),
        webhook=accepted.webhook or UNSET,
        webhook_events_filter=UNSET if accepted.webhook_events is None else accepted.webhook_events,
    )


def _finish(call: Call, prediction: api.Prediction, event: Lifecycle) -> api.Prediction:
    prediction.status = status_for(call.request.headers.get("User-Agent"), event.status)
    prediction.output = present.NULL if isinstance(event.output, UnsetType) else event.output
    prediction.logs = event.logs or ""
    prediction.error = event.error
    prediction.metrics = event.metrics
    if event.started_at is not None:
        prediction.started_at = rfc3339(event.started_at)
    if event.completed_at is not None:
        prediction.completed_at = rfc3339(event.completed_at)
    return prediction


async def _present(call: Call, row: Row) -> api.Prediction:
    prediction = _row(call, row)
    return await files_in_output.for_client(call, prediction)


def _row(call: Call, row: Row) -> api.Prediction:
    parts = call.parts
    stream = streams.url(parts, row["id"], row["created_at"].timestamp()) if row["streams"] else None
    prediction = present.prediction(dict(row.items()), parts.config.public_url, stream_url=stream)
    prediction.status = status_for(call.request.headers.get("User-Agent"), prediction.status)
    return prediction


@operation("predictions.get", Scope.PREDICTIONS_READ, answer=api.Prediction)
async def get(call: Call) -> web.Response:
    return json_response(await _present(call, await _own(call)), headers=NO_STORE)


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

    listed = await page(call, "/predictions", fetch, lambda row: _row(call, row))
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
    return json_response(await _present(call, row), headers=NO_STORE)
