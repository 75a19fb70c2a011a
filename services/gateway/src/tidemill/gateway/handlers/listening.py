"""GET /webhooks/listen: live webhooks for developers whose machine cannot receive webhooks."""

import asyncio
import re
from typing import Final, Protocol

import msgspec
from aiohttp import web

from tidemill.contracts.access import Scope
from tidemill.contracts.api.webhooks import DEFAULT_EVENTS, MirroredWebhook
from tidemill.contracts.errors import Problem
from tidemill.contracts.ids import new_id
from tidemill.contracts.prediction import Status
from tidemill.gateway import stores
from tidemill.gateway.call import EVENTS, Call, operation
from tidemill.gateway.listing import queries
from tidemill.gateway.live import sse
from tidemill.gateway.live.listening import LISTENERS, WebhookListener
from tidemill.gateway.live.mirror import DueEvent
from tidemill.gateway.protocols import HasCallers, HasConfig, HasDatabase, HasPublicUrls, HasSigningKey
from tidemill.runtime.clock import monotonic, now
from tidemill.runtime.db import TRANSIENT_ERRORS, Row
from tidemill.runtime.webhook import WebhookBodies, headers

HEARTBEAT_S: Final = 10.0  # below the idle timeouts of proxies and clients
WRITE_LIMIT_S: Final = 30.0  # a client that reads nothing for this long is gone
MISSED_LIMIT: Final = 100  # missed ends that a reconnecting listener is shown
DELIVERY_ID: Final = re.compile(r"msg_[0-9a-hjkmnp-tv-z]{26}")


class ListenParts(HasDatabase, HasCallers, HasConfig, HasSigningKey, HasPublicUrls, Protocol): ...


class _ListenerConnection:
    """The connection of one listener."""

    def __init__(self, call: Call[ListenParts], listener: WebhookListener) -> None:
        self._call = call
        self._listener = listener
        self._all = call.parse_query(queries.ListenQuery).all
        parts = call.parts
        self._bodies = WebhookBodies(parts.public_urls, parts.signing_key, parts.config.retention_s)
        self.response = web.StreamResponse(headers=sse.HEADERS)

    async def run(self) -> None:
        await self.response.prepare(self._call.request)
        await self._write(b": listening\n\n")
        await self._catch_up()
        while not self._listener.closed:
            # The look-up is cached for seconds: a revoked token ends the connection soon.
            await self._call.parts.callers.get(self._call.request.headers.get("Authorization"))
            self._listener.changed.clear()
            for due in self._listener.mirror.take(monotonic()):
                await self._show(due)
            await self._wait()

    async def _catch_up(self) -> None:
        last = self._call.request.headers.get("Last-Event-ID", "")
        if DELIVERY_ID.fullmatch(last):
            database, account_id = self._call.parts.database, self._call.account.id
            for row in await stores.webhooks.list_missed(database, account_id, last, MISSED_LIMIT):
                self._listener.mirror.missed(row["prediction_id"])

    async def _wait(self) -> None:
        """Wait for the next event that is due; send a heartbeat after HEARTBEAT_S of silence."""
        wait = self._listener.mirror.wait_s(monotonic())
        try:
            async with asyncio.timeout(HEARTBEAT_S if wait is None else min(wait, HEARTBEAT_S)):
                await self._listener.changed.wait()
        except TimeoutError:
            if wait is None:
                await self._write(sse.HEARTBEAT)

    async def _show(self, due: DueEvent) -> None:
        call = self._call
        row = await stores.webhooks.find_mirrored(call.parts.database, due.prediction, call.account.id)
        if row is None or not self._wanted(row, due.event):
            return
        started = due.event == "start"
        body = self._bodies.at_start(row) if started else self._bodies.current(row)
        delivery = row["delivery"] if due.event == "completed" else None
        message_id = delivery or f"msg_{new_id()}"
        secrets = await stores.webhooks.list_signing_secrets(call.parts.database, call.account.id)
        mirrored = MirroredWebhook(
            event=due.event,
            prediction=due.prediction,
            url=row["webhook"],
            headers=headers(secrets, message_id, int(now()), body),
            body=body.decode(),
        )
        # Only ends have ids: a listener that reconnects is shown the ends after its last one.
        mark = b"" if delivery is None else f"id: {delivery}\n".encode()
        await self._write(b"event: webhook\n" + mark + b"data: " + msgspec.json.encode(mirrored) + b"\n\n")

    def _wanted(self, row: Row, event: str) -> bool:
        if event == "start" and row["started_at"] is None:
            return False
        if event in {"output", "logs"} and row["status"] != Status.PROCESSING.value:
            return False
        if row["webhook"] is None:
            return self._all
        return event in (DEFAULT_EVENTS if row["webhook_events"] is None else row["webhook_events"])

    async def _write(self, data: bytes) -> None:
        async with asyncio.timeout(WRITE_LIMIT_S):
            await self.response.write(data)


@operation(
    "webhooks.listen",
    Scope.WEBHOOKS_READ,
    query=queries.ListenQuery,
    headers=("Last-Event-ID",),
    response=EVENTS,
    errors=(409,),
)
async def listen(call: Call[ListenParts]) -> web.StreamResponse:
    """Hear your webhooks as they are made, as server-sent events.

    Each event is named `webhook`, and its data is a JSON object with `event`, `prediction`, `url`, and the `headers`
    and `body` of the request that a receiver gets: signed with your secret, in the same order and no more often. The
    real delivery goes on as ever. With `all=true` predictions without a webhook are shown too. The ends of predictions
    have an id: whoever comes back with `Last-Event-ID` is shown up to 100 ends that were missed. `tidemill webhooks
    listen` forwards all this to a local URL.
    """
    call.parse_query(queries.ListenQuery)
    if call.request.method == "HEAD":
        return web.StreamResponse(headers=sse.HEADERS)
    async with call.request.app[LISTENERS].listening(call.account.id) as listener:
        connection = _ListenerConnection(call, listener)
        try:
            await connection.run()
        except (Problem, *TRANSIENT_ERRORS):
            if not connection.response.prepared:
                raise
            if call.request.transport is not None:
                call.request.transport.abort()
    return connection.response
