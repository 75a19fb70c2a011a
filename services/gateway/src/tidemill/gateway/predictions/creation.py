"""Creates one prediction: checks the body, accepts the row, and waits for the end if the client asks for that."""

import math
import re
from typing import Final, Protocol

from aiohttp import web

from tidemill.contracts.api.predictions import CreatePrediction
from tidemill.contracts.errors import invalid_member, not_found
from tidemill.contracts.ids import new_id
from tidemill.contracts.limits import WAIT_LIMIT_S
from tidemill.contracts.subjects import Kind
from tidemill.gateway import stores
from tidemill.gateway.accepted import Accepted
from tidemill.gateway.call import Call, json_response
from tidemill.gateway.predictions import replay
from tidemill.gateway.predictions.idempotency import KEY, RETRY_COUNT, IdempotencyParts, accept_idempotently
from tidemill.gateway.predictions.preferences import cancel_after_s, wait_s
from tidemill.gateway.predictions.replay import ReplayParts
from tidemill.gateway.predictions.validation import decode_input
from tidemill.gateway.predictions.versions import Runnable
from tidemill.gateway.predictions.waiting import ended_within
from tidemill.gateway.protocols import HasPublicUrls
from tidemill.gateway.responses import output_files, prediction_serializer
from tidemill.runtime.clock import monotonic, now
from tidemill.runtime.telemetry import span
from tidemill.security.egress.errors import EgressDenied
from tidemill.security.egress.policy import check_url_form

TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class CreationParts(HasPublicUrls, IdempotencyParts, ReplayParts, Protocol): ...


async def create(call: Call[CreationParts], runnable: Runnable, body: CreatePrediction) -> web.Response:
    headers = call.request.headers
    wait = wait_s(headers.get("Prefer"))
    with span("create prediction", traceparent_of(headers.get("traceparent"))) as traceparent:
        accepted = prepare(call, runnable, body, traceparent)
        if wait is not None:
            return await _wait(call, accepted, runnable, wait)
        earlier = await _accept(call, accepted)
        if earlier is not None:
            return await replay.respond(call, earlier, None, _headers(call, earlier, None, accepted.kind))
        return json_response(
            prediction_serializer.from_accepted(call, accepted, runnable.streams),
            201,
            _headers(call, accepted.id, None, accepted.kind),
        )


def prepare(call: Call[CreationParts], runnable: Runnable, body: CreatePrediction, traceparent: str | None) -> Accepted:
    """Return the row to accept. Raise the 422 problem if the body does not match the version's schema."""
    cancel_after = cancel_after_s(call.request.headers.get("Cancel-After"))
    raw = bytes(body.input)
    runnable.check(decode_input(raw))
    webhook = body.webhook or body.webhook_completed
    if webhook is not None:
        _check_webhook(webhook)
    created_at = (
        math.floor(now() * 1000) / 1000
    )  # whole milliseconds, as on the wire, so that created_before compares equal
    prediction = new_id()
    call.parts.admission.admit(call.account, runnable.queue, prediction, monotonic())
    return Accepted(
        id=prediction,
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
        kind="prediction" if runnable.destination is None else "training",
        deployment=runnable.deployment,
        destination=runnable.destination,
        priority=body.priority or 0,
        secrets=runnable.secrets,
        public_url=None if webhook is None or call.public_url == call.parts.public_urls.first else call.public_url,
    )


def _check_webhook(url: str) -> None:
    """Raise the 422 problem for a URL that can never be called, or has U+0000: that would fail the shared INSERT."""
    try:
        check_url_form(url)
    except EgressDenied as error:
        said = f"Must be an http or https URL that can be called: {error.reason}"
        raise invalid_member("webhook", said, "format") from None


def traceparent_of(header: str | None) -> str | None:
    """Return the W3C trace context that is passed on to the model; None if the header is invalid."""
    return header if header and TRACEPARENT.fullmatch(header) else None


def _events(body: CreatePrediction) -> list[str] | None:
    if body.webhook is None and body.webhook_completed is not None:
        return ["completed"]
    return None if body.webhook_events_filter is None else list(body.webhook_events_filter)


async def _accept(call: Call[CreationParts], accepted: Accepted) -> str | None:
    """Accept the prediction and return None; return the id of the earlier one if this request is a repetition."""
    headers = call.request.headers
    if KEY in headers or headers.get(RETRY_COUNT, "0") != "0":
        return await accept_idempotently(call, accepted)
    await call.parts.acceptor.accept(accepted)
    return None


def _headers(
    call: Call[CreationParts], prediction_id: str, wait: float | None, kind: Kind = "prediction"
) -> dict[str, str]:
    location = {"Location": f"{call.api_url}/{kind}s/{prediction_id}"}
    if wait is not None:
        location["Preference-Applied"] = "wait" if wait + 2 > WAIT_LIMIT_S else f"wait={wait:g}"
    return location


async def _wait(call: Call[CreationParts], accepted: Accepted, runnable: Runnable, wait: float) -> web.Response:
    """Respond when the prediction has ended, or with `starting` after `wait` seconds: clients take every other status
    of a blocking create for the end.
    """
    waiters = call.parts.waiters
    ended = waiters.expect(accepted.id)
    headers = _headers(call, accepted.id, wait)
    try:
        earlier = await _accept(call, accepted)
        if earlier is not None:
            return await replay.respond(call, earlier, wait, _headers(call, earlier, wait))
        if not await ended_within(ended, wait):
            return json_response(prediction_serializer.from_accepted(call, accepted, runnable.streams), 201, headers)
    finally:
        waiters.forget(accepted.id, ended)
    event = ended.result()
    if event is None or event.partial:
        row = await stores.predictions.find(call.parts.database, accepted.id, call.account.id, accepted.kind)
        if row is None:
            raise not_found()
        return json_response(await prediction_serializer.in_detail(call, row), 201, headers)
    prediction = prediction_serializer.add_end(
        call, prediction_serializer.from_accepted(call, accepted, runnable.streams), event
    )
    return json_response(await output_files.for_client(call, prediction), 201, headers)
