"""Durable consumers of events on NATS: created over HTTP, used over NATS with the same token."""

from datetime import datetime
from typing import Any, Protocol

from aiohttp import web

from tidemill.contracts import subjects
from tidemill.contracts.access import Scope
from tidemill.contracts.api.event_consumers import (
    EVENT_CONSUMERS_LIMIT,
    CreateEventConsumer,
    EventConsumer,
    EventConsumerState,
)
from tidemill.contracts.api.pages import Page
from tidemill.contracts.errors import conflict, forbidden, not_found, unprocessable
from tidemill.contracts.ids import is_id
from tidemill.gateway import stores
from tidemill.gateway.call import Call, json_response, operation
from tidemill.gateway.events.durable_consumers import DurableConsumers
from tidemill.gateway.events.permissions import SCOPES, readable_kinds
from tidemill.gateway.listing import queries
from tidemill.gateway.protocols import HasDatabase, HasSigningKey
from tidemill.gateway.responses.pages import page
from tidemill.runtime.bus import TRANSIENT_ERRORS as BUS_ERRORS
from tidemill.runtime.clock import rfc3339, unix
from tidemill.runtime.db import Row
from tidemill.runtime.telemetry import log

NO_STORE = {"Cache-Control": "no-store"}


class EventConsumerParts(HasDatabase, HasSigningKey, Protocol):
    @property
    def durable_consumers(self) -> DurableConsumers: ...


@operation(
    "event-consumers.create",
    Scope.PREDICTIONS_WRITE,
    body=CreateEventConsumer,
    response=EventConsumer,
    status=201,
    errors=(409,),
)
async def create(call: Call[EventConsumerParts]) -> web.Response:
    """Make a durable consumer of the account's events.

    It gets every event since now, also those of times when nobody was connected, as long as the stream keeps them (an
    hour). A connection that was made before does not know it: connect again to use it.
    """
    body = await call.body(CreateEventConsumer)
    kinds = readable_kinds(call.caller.scopes) if body.events is None else tuple(dict.fromkeys(body.events))
    lacking = [SCOPES[kind] for kind in kinds if SCOPES[kind] not in call.caller.scopes]
    if lacking or not kinds:
        raise forbidden(f"This token lacks the scope {lacking[0] if lacking else Scope.PREDICTIONS_READ}.")
    row = await stores.event_consumers.create(call.parts.database, call.account.id, body.name, kinds)
    if row is None:
        if await stores.event_consumers.is_name_taken(call.parts.database, call.account.id, body.name):
            raise conflict(f"There is an event consumer {body.name} already.")
        raise unprocessable(f"An account can have {EVENT_CONSUMERS_LIMIT} event consumers.")
    try:
        await call.parts.durable_consumers.ensure([row])
    except BUS_ERRORS as error:  # it is created when a client connects to use it
        log().warning("consumer not created yet", action="create", error=str(error) or type(error).__name__)
    return json_response(_serialize(row), 201, call.location(f"/event-consumers/{row['id']}"))


@operation(
    "event-consumers.list",
    Scope.PREDICTIONS_READ,
    query=queries.PageQuery,
    response=Page[EventConsumer],
)
async def list_(call: Call[EventConsumerParts]) -> web.Response:
    """List the account's durable consumers, newest first."""
    listed = await page(
        call,
        "/event-consumers",
        lambda cursor, limit: stores.event_consumers.page(call.parts.database, call.account.id, cursor, limit),
        _serialize,
    )
    return json_response(listed, headers=NO_STORE)


@operation("event-consumers.get", Scope.PREDICTIONS_READ, response=EventConsumerState, errors=(404,))
async def get(call: Call[EventConsumerParts]) -> web.Response:
    """Show a durable consumer and how far it is."""
    identifier = call.path("id")
    row = (
        await stores.event_consumers.find(call.parts.database, call.account.id, identifier)
        if is_id(identifier)
        else None
    )
    if row is None:
        raise not_found()
    state = await call.parts.durable_consumers.state(identifier)
    state_response = EventConsumerState(
        **_members(row),
        waiting=None if state is None else state.waiting,
        unacknowledged=None if state is None else state.unacknowledged,
        last_delivered_at=None if state is None else _timestamp(state.last_delivered),
        missed=row["missed"],
        missed_since=_timestamp(row["missed_since"]),
        missed_until=_timestamp(row["missed_until"]),
    )
    return json_response(state_response, headers=NO_STORE)


@operation("event-consumers.delete", Scope.PREDICTIONS_WRITE, status=204, errors=(404,))
async def delete(call: Call[EventConsumerParts]) -> web.Response:
    """Delete a durable consumer; what it has not delivered yet it never will."""
    identifier = call.path("id")
    known = is_id(identifier) and await stores.event_consumers.delete(call.parts.database, call.account.id, identifier)
    if not known:
        raise not_found()
    await call.parts.durable_consumers.remove(identifier)
    return web.Response(status=204)


def _timestamp(value: datetime | None) -> str | None:
    return None if value is None else rfc3339(unix(value))


def _serialize(row: Row) -> EventConsumer:
    return EventConsumer(**_members(row))


def _members(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "events": list(row["kinds"]),
        "stream": subjects.PREDICTIONS.name,
        "consumer": subjects.consumer(row["id"]),
        "created_at": rfc3339(unix(row["created_at"])),
    }
