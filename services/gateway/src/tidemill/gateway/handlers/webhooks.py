"""Webhooks: the signing secret and its rotation, deliveries and their tries, and endpoints."""

from datetime import datetime
from typing import Any, Protocol

import msgspec
from aiohttp import web

from tidemill.contracts import subjects
from tidemill.contracts.access import Scope
from tidemill.contracts.api.pages import Page
from tidemill.contracts.api.webhooks import (
    SIGNING_LIMIT,
    TRIES_LIMIT,
    EndpointStatus,
    RotatedSecret,
    WebhookDelivery,
    WebhookDeliveryInFull,
    WebhookEndpoint,
    WebhookSecret,
    WebhookTry,
)
from tidemill.contracts.errors import conflict, not_found
from tidemill.contracts.events import WebhookEvent
from tidemill.contracts.ids import is_id
from tidemill.gateway import stores
from tidemill.gateway.call import Call, json_response, operation
from tidemill.gateway.listing import queries
from tidemill.gateway.listing.cursors import Cursor
from tidemill.gateway.protocols import HasBus, HasDatabase, HasSigningKey
from tidemill.gateway.responses.pages import page
from tidemill.runtime.clock import rfc3339
from tidemill.runtime.db import Row
from tidemill.runtime.deliveries import scheduling
from tidemill.security import webhook_signatures

NO_STORE = {"Cache-Control": "no-store"}
MESSAGE_PREFIX = "msg_"


class WebhookParts(HasDatabase, HasBus, HasSigningKey, Protocol): ...


@operation("webhooks.default.secret.get", Scope.WEBHOOKS_READ, response=WebhookSecret)
async def secret(call: Call[WebhookParts]) -> web.Response:
    """The secret that signs your webhooks; receivers verify with it."""
    key = await stores.webhooks.find_secret(call.parts.database, call.account.id)
    if key is None:
        raise not_found()
    return json_response(WebhookSecret(key), headers=NO_STORE)


@operation(
    "webhooks.default.secret.rotate",
    Scope.WEBHOOKS_WRITE,
    query=queries.RotateSecretQuery,
    response=RotatedSecret,
    errors=(409,),
)
async def rotate_secret(call: Call[WebhookParts]) -> web.Response:
    """Replace the signing secret.

    The one before goes on signing beside it for a day, or for `overlap_s` seconds: the header `webhook-signature` then
    holds several signatures, separated by spaces, and receivers take a delivery when one of them is right. After a
    leak use `overlap_s=0`: no earlier secret signs any more. At most 5 sign at once; 409 beyond that.
    """
    new, overlap_s = webhook_signatures.new_secret(), call.parse_query(queries.RotateSecretQuery).overlap_s
    rotated, until = await stores.webhooks.rotate_secret(call.parts.database, call.account.id, new, overlap_s)
    if not rotated:
        raise conflict(f"{SIGNING_LIMIT} secrets sign at once already; wait, or end them all with overlap_s=0.")
    return json_response(RotatedSecret(key=new, previous_sign_until=_timestamp(until)), headers=NO_STORE)


@operation(
    "webhooks.deliveries.list", Scope.WEBHOOKS_READ, query=queries.DeliveriesQuery, response=Page[WebhookDelivery]
)
async def deliveries(call: Call[WebhookParts]) -> web.Response:
    """What your receivers were told and how that went, newest first; kept for a week.

    Every end of a prediction is listed. Of `start`, `output` and `logs` events the first of a prediction are, and then
    one at most every ten seconds unless the result changes.
    """
    asked = call.parse_query(queries.DeliveriesQuery)

    async def fetch(cursor: Cursor | None, limit: int) -> list[Row]:
        return await stores.webhooks.deliveries_page(call.parts.database, call.account.id, asked, cursor, limit)

    listed = await page(call, "/webhooks/deliveries", fetch, lambda row: WebhookDelivery(**_fields(row)))
    return json_response(listed, headers=NO_STORE)


@operation("webhooks.deliveries.get", Scope.WEBHOOKS_READ, response=WebhookDeliveryInFull)
async def delivery(call: Call[WebhookParts]) -> web.Response:
    """One delivery with its tries and its body.

    The body that was sent, and what receivers answered, can be seen for as long as the prediction's data is kept.
    """
    return json_response(_in_full(await _find_own(call)), headers=NO_STORE)


@operation("webhooks.deliveries.redeliver", Scope.WEBHOOKS_WRITE, response=WebhookDelivery, status=202, errors=(409,))
async def redeliver(call: Call[WebhookParts]) -> web.Response:
    """Try a delivery once more, now: under the same `webhook-id`, with a new timestamp and signature.

    For the ends of predictions, whatever became of them; 409 for other events, for a deleted prediction, and while the
    endpoint is disabled. The body is the same for as long as the prediction's data is kept, then the prediction without
    it. A try that fails is not followed by others. A delivery that is still pending is brought forward, and its
    schedule goes on.
    """
    row = await _find_own(call)
    database = call.parts.database
    if row["event"] != "completed":
        raise conflict("Only the end of a prediction can be delivered again.")
    if not await scheduling.redeliver(database, row["id"], call.account.id):
        if row["tries"] >= TRIES_LIMIT:
            raise conflict(f"This delivery was tried {TRIES_LIMIT} times already.")
        if row["prediction_deleted"]:
            raise conflict("The prediction was deleted.")
        reason = await stores.webhooks.find_disabled_reason(database, row["id"])
        raise conflict(f"The endpoint is disabled ({reason}); enable it first.")
    await call.parts.bus.send(subjects.WEBHOOK, WebhookEvent(id=row["prediction_id"], event="completed"))
    return json_response(WebhookDelivery(**_fields(await _find_own(call))), 202, NO_STORE)


@operation("webhooks.endpoints.list", Scope.WEBHOOKS_READ, query=queries.PageQuery, response=Page[WebhookEndpoint])
async def endpoints(call: Call[WebhookParts]) -> web.Response:
    """The hosts that your webhooks go to and how they fare, newest first.

    After 5 failures in a row a host is `paused`: nothing is tried for 10 seconds, then one delivery probes; every
    probe that fails doubles the time, up to 10 minutes. What waits meanwhile is delivered afterwards. A host that has
    only failed for 5 days is `disabled`, and so is a path (listed apart) that answered 410 Gone: deliveries to them are
    `skipped` until you enable them.
    """

    async def fetch(cursor: Cursor | None, limit: int) -> list[Row]:
        return await stores.webhooks.endpoints_page(call.parts.database, call.account.id, cursor, limit)

    return json_response(await page(call, "/webhooks/endpoints", fetch, _endpoint), headers=NO_STORE)


@operation("webhooks.endpoints.enable", Scope.WEBHOOKS_WRITE, response=WebhookEndpoint)
async def enable_endpoint(call: Call[WebhookParts]) -> web.Response:
    """Try an endpoint again that was disabled or paused. What was skipped stays so: redeliver what you need."""
    endpoint_id, database = call.path("id"), call.parts.database
    if is_id(endpoint_id):
        await stores.webhooks.enable_endpoint(database, endpoint_id, call.account.id)
        row = await stores.webhooks.find_endpoint(database, endpoint_id, call.account.id)
        if row is not None:
            return json_response(_endpoint(row))
    raise not_found()


async def _find_own(call: Call[WebhookParts]) -> Row:
    delivery_id = call.path("id")
    known = delivery_id.startswith(MESSAGE_PREFIX) and is_id(delivery_id.removeprefix(MESSAGE_PREFIX))
    row = await stores.webhooks.find_delivery(call.parts.database, delivery_id, call.account.id) if known else None
    if row is None:
        raise not_found()
    return row


def _fields(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "prediction": row["prediction_id"],
        "event": row["event"],
        "url": row["url"],
        "status": row["status"],
        "tries": row["tries"],
        "last_status": row["last_status"],
        "last_error": row["last_error"],
        "next_try_at": _timestamp(row["next_attempt_at"]) if row["status"] == "pending" else None,
        "created_at": rfc3339(row["created_at"].timestamp()),
        "completed_at": _timestamp(row["completed_at"]),
    }


def _in_full(row: Row) -> WebhookDeliveryInFull:
    """Return a delivery with log and body. Omit the body and the receivers' responses once the data is deleted."""
    log = msgspec.json.decode(row["log"], type=list[WebhookTry])
    body = row["body"]
    if row["data_removed"]:
        log = [msgspec.structs.replace(each, response=None) for each in log]
        body = None
    return WebhookDeliveryInFull(**_fields(row), log=log, body=body)


def _endpoint(row: Row) -> WebhookEndpoint:
    paused = row["open_until"] is not None and row["open_until"] > row["now"]
    status: EndpointStatus = "disabled" if row["disabled_at"] is not None else "paused" if paused else "active"
    return WebhookEndpoint(
        id=row["id"],
        host=row["host"],
        path=row["path"] or None,
        status=status,
        failures=row["failures"],
        failing_since=_timestamp(row["failing_since"]),
        paused_until=_timestamp(row["open_until"]) if status == "paused" else None,
        disabled_at=_timestamp(row["disabled_at"]),
        disabled_reason=row["disabled_reason"],
        succeeded_at=_timestamp(row["succeeded_at"]),
        failed_at=_timestamp(row["failed_at"]),
        created_at=rfc3339(row["created_at"].timestamp()),
    )


def _timestamp(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment.timestamp())
