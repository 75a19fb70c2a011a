"""Answers the auth callouts of NATS servers: an API token in, signed permissions out.

All gateways share the requests (a queue group). While the database cannot be reached, a request stays unanswered and
the server refuses the connection after its timeout: better than calling a valid token invalid. Tokens are never logged.
"""

import asyncio
from typing import Final

import nats
from nats.aio.msg import Msg
from prometheus_client import Counter

from tidemill.contracts import subjects
from tidemill.contracts.errors import Problem
from tidemill.gateway import stores
from tidemill.gateway.access.callers import CallerCache
from tidemill.gateway.events import nats_jwt
from tidemill.gateway.events.durable_consumers import DurableConsumers, consumer_from_row
from tidemill.gateway.events.external_subscribers import ExternalSubscribers, key_of, name
from tidemill.gateway.events.permissions import label, permissions, readable_kinds
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import now
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log

QUEUE: Final = "callout"
CONCURRENCY: Final = 4  # requests handled at once: each takes a connection of the pool for a moment
WAITING_LIMIT: Final = 256  # requests; more would be answered too late anyway
ANSWER_WITHIN_S: Final = 4.0  # the server waits for five seconds
# The connection monitor closes connections within seconds of a token's end. This is the bound if it cannot.
SESSION_LIMIT_S: Final = 6 * 3600
ANSWERS: Final = Counter("tidemill_event_callouts_total", "Outside subscribers that connected", ["result"])


class AuthCallout:
    def __init__(
        self,
        seed: str,
        bus: Bus,
        database: Database,
        callers: CallerCache,
        durable_consumers: DurableConsumers,
        *,
        subscribers: ExternalSubscribers,
    ) -> None:
        self._signer = nats_jwt.CalloutSigner(seed)
        self._bus = bus
        self._database = database
        self._callers = callers
        self._durable_consumers = durable_consumers
        self._subscribers = subscribers
        self._requests: asyncio.Queue[Msg] = asyncio.Queue(WAITING_LIMIT)

    async def listen(self) -> None:
        await self._bus.listen_raw(subjects.AUTH_CALLOUT, self._receive, queue=QUEUE)

    async def run(self) -> None:
        """Named task: answer the requests that `listen` receives."""
        async with asyncio.TaskGroup() as group:
            for number in range(CONCURRENCY):
                group.create_task(self._answer_all(), name=f"callout {number}")

    async def _receive(self, message: Msg) -> None:
        try:
            self._requests.put_nowait(message)
        except asyncio.QueueFull:
            ANSWERS.labels("dropped").inc()

    async def _answer_all(self) -> None:
        while True:
            message = await self._requests.get()
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    answer = await self._answer(nats_jwt.read(message.data))
                await self._bus.send_bytes(message.reply, answer)
            except (nats_jwt.MalformedError, nats.errors.Error, *TRANSIENT_ERRORS) as error:
                ANSWERS.labels("unanswered").inc()
                log().warning(
                    "authorization request not answered", action="authorize", error=str(error) or type(error).__name__
                )

    async def _answer(self, request: nats_jwt.CalloutRequest) -> bytes:
        try:
            caller = await self._callers.get(f"Bearer {request.token}")
        except Problem:
            return self._refusal(request, "not a valid API token")
        kinds = readable_kinds(caller.scopes)
        if not kinds:
            return self._refusal(request, "the token may read neither predictions nor trainings")
        account, key = caller.account.id, key_of(request.user)
        if not await self._subscribers.has_room(account):
            limit = self._subscribers.counts.limit
            log().warning("too many connections", action="authorize", account=account, limit=limit)
            return self._refusal(request, f"the account has {limit} connections already")
        await self._subscribers.admit(account, key)
        rows = await stores.event_consumers.list_all(self._database, caller.account.id)
        await self._durable_consumers.ensure(rows)
        allowed = permissions(caller.account.id, caller.token_id, kinds, map(consumer_from_row, rows))
        until = min(now() + SESSION_LIMIT_S, caller.expires_at or float("inf"))
        ANSWERS.labels("admitted").inc()
        known_as = name(label(caller.token_id, kinds), account, key)
        return self._signer.admission(request, known_as, allowed, now(), until)

    def _refusal(self, request: nats_jwt.CalloutRequest, why: str) -> bytes:
        ANSWERS.labels("refused").inc()
        return self._signer.refusal(request, why, now())
