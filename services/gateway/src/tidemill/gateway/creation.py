"""One prediction from a request's body to its answer: checked, accepted, waited for when the client asks for that."""

import asyncio
import math
import re
from typing import Final

from aiohttp import web

from tidemill.contracts import api
from tidemill.contracts.errors import not_found, unprocessable
from tidemill.contracts.ids import new_id
from tidemill.contracts.limits import WAIT_LIMIT_S
from tidemill.gateway import files_in_output, showing, store
from tidemill.gateway.accept import Accepted
from tidemill.gateway.http import Call, json_response
from tidemill.gateway.preferences import cancel_after_s, wait_s
from tidemill.gateway.validation import decode_input
from tidemill.gateway.versions import Runnable
from tidemill.runtime.clock import now
from tidemill.runtime.telemetry import span

TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


async def create(call: Call, runnable: Runnable, body: api.CreatePrediction) -> web.Response:
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
            return json_response(showing.starting(call, accepted, runnable.streams), 201, location)
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
        return json_response(showing.starting(call, accepted, runnable.streams), 201, headers)
    finally:
        waiters.forget(accepted.id)
    if event is None or event.partial:
        row = await store.prediction(call.parts.database, accepted.id, call.account.id)
        if row is None:
            raise not_found()
        return json_response(await showing.in_full(call, row), 201, headers)
    prediction = showing.ended(call, showing.starting(call, accepted, runnable.streams), event)
    return json_response(await files_in_output.for_client(call, prediction), 201, headers)
