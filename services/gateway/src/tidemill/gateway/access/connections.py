"""The connections of clients, as the web server has them, and patience with those that do not heed a refusal.

A request that would be refused for sure is answered before it is parsed: that costs a tenth of the whole way. Whoever
goes on asking is answered late, and in the end its connection is closed.
"""

import asyncio
import math
import random
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from tidemill.gateway.access.refusal_cache import (
    HELD_LIMIT,
    HOLD_S,
    CachedRefusal,
    DelayedRefusal,
    RefusalCache,
    request_key,
)
from tidemill.gateway.access.request_framing import parse_frame
from tidemill.gateway.limits.rates import REFUSED, REFUSED_FOR
from tidemill.runtime.clock import monotonic

THROTTLED: Final = 429
PROMPT_IN_A_ROW: Final = 10  # refusals of one connection that are answered at once
CLOSED_AFTER: Final = 60  # refusals in a row: a minute of late answers
# One whose bytes were not followed from the start cannot be answered early: its client opens another that can.
UNFOLLOWED_CLOSED_AFTER: Final = 20
TICK_S: Final = 0.1  # how often late answers are given
FORGET_EVERY_S: Final = 10.0
REST_LIMIT_BYTES: Final = 64 * 1024  # of what a client sends while its answer is held
BODY_LIMIT_BYTES: Final = 1024 * 1024  # of a body that is thrown away for an early answer


class DelayedConnections:
    """The connections that wait for a late answer. They are let go together, many at each tick: waking for each alone
    would cost more than all that is done for it.
    """

    def __init__(self) -> None:
        self._ticks: dict[int, list[ClientConnection]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.count = 0

    def add(self, connection: "ClientConnection", late_s: float) -> None:
        self.count += 1
        self._ticks.setdefault(math.ceil((monotonic() + late_s) / TICK_S), []).append(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        reached = monotonic() / TICK_S
        for tick in [tick for tick in self._ticks if tick <= reached]:
            for connection in self._ticks.pop(tick):
                self.count -= 1
                connection.release()
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick) if self._ticks else None


class ClientConnection(RequestHandler):
    """`_missing`: bytes until the next request begins; negative when that is not known."""

    __slots__ = ("_answer", "_held", "_missing", "_rest", "early", "refused")

    def __init__(self, server: "ThrottlingServer", **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self.refused = 0  # requests in a row
        self.early, self._held = server.refusals, server.held
        self._missing = 0
        self._answer: DelayedRefusal | None = None  # to be given when the body has come and the time is over
        self._rest = b""

    @property
    def followed(self) -> bool:
        return self._missing >= 0

    def data_received(self, data: bytes) -> None:
        if self._answer is None and (not self.early.known or self._missing < 0 or not data):
            if data:
                self._missing = -1
            super().data_received(data)
        elif self._answer is not None:
            self._take_more(data)
        elif self._missing:  # the server waits for this body
            self._missing -= len(data)
            super().data_received(data)
        else:
            self._begin(data)

    def _begin(self, data: bytes) -> None:
        """At the beginning of a request."""
        request = parse_frame(data)
        if request is None:
            self._missing = -1
            super().data_received(data)
            return
        idle = self._waiter is not None and not self._waiter.done() and not self._messages
        if idle and request.size <= len(data) + BODY_LIMIT_BYTES:
            self._answer = self.early.again(request_key(request.line, request.authorization), monotonic())
        if self._answer is None:
            self._missing = request.size - len(data)
            super().data_received(data)
            return
        self._missing = max(request.size - len(data), 0)
        self._rest = data[request.size :]
        if not self._missing:
            self._tell(self._answer)

    def _take_more(self, data: bytes) -> None:
        """While an answer is held: first the rest of its request's body, then what was sent without waiting for it."""
        assert self._answer is not None, "an answer is held"
        body, self._missing = self._missing, max(self._missing - len(data), 0)
        self._rest += data[body:]
        if len(self._rest) > REST_LIMIT_BYTES:
            self.force_close()
        elif body and not self._missing:
            self._tell(self._answer)

    def _tell(self, told: DelayedRefusal) -> None:
        self.refused += 1
        told.refusal.count()
        if not told.hold_s:
            self._give()
        elif self._held.count >= HELD_LIMIT:
            self.force_close()
        elif self.transport is not None:
            self.transport.pause_reading()
            self._held.add(self, told.hold_s * (0.5 + random.random()))  # spread, so that they do not all come at once

    def release(self) -> None:
        if self.transport is not None and not self._force_close:
            self.transport.resume_reading()
            self._give()

    def _give(self) -> None:
        told, self._answer = self._answer, None
        rest, self._rest = self._rest, b""
        if told is None or self.transport is None:
            return
        refusal, closing = told.refusal, self.refused >= CLOSED_AFTER
        self.transport.write(refusal.head + (b"Connection: close\r\n\r\n" if closing else b"\r\n") + refusal.body)
        if closing:
            self.force_close()
        elif rest:
            self.data_received(rest)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._answer, self._rest = None, b""
        super().connection_lost(exc)


class ThrottlingServer(web.Server):
    """As aiohttp's, with our connections."""

    def __init__(self, refusals: RefusalCache, handler: Any, **kwargs: Any) -> None:
        super().__init__(handler, **kwargs)
        self.refusals, self.held = refusals, DelayedConnections()

    def __call__(self) -> ClientConnection:
        return ClientConnection(self, loop=self._loop, **self._kwargs)


class ThrottlingRunner(web.AppRunner):
    """As aiohttp's, with our server."""

    def __init__(self, app: web.Application, refusals: RefusalCache, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self._refusals = refusals

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return ThrottlingServer(
            self._refusals, made.request_handler, request_factory=made.request_factory, **self._kwargs
        )


async def expire_refusals(refusals: RefusalCache) -> None:
    """Named task: when nobody has been refused for a while, connections are followed no more."""
    while True:
        await asyncio.sleep(FORGET_EVERY_S)
        refusals.forget(monotonic())


async def delay_refusal(request: web.Request, response: web.StreamResponse) -> None:
    """To be called with each answer; returns when it may go out."""
    connection = request.protocol
    if not isinstance(connection, ClientConnection):
        return
    if response.status != THROTTLED or not isinstance(response, web.Response):
        connection.refused = 0
        return
    _note(connection.early, request, response)
    connection.refused += 1
    if connection.refused >= (CLOSED_AFTER if connection.followed else UNFOLLOWED_CLOSED_AFTER):
        response.force_close()
    if connection.refused > PROMPT_IN_A_ROW:
        await asyncio.sleep(HOLD_S)


def _note(refusals: RefusalCache, request: web.Request, response: web.Response) -> None:
    moment, certain_s = monotonic(), request.get(REFUSED_FOR)
    if certain_s is not None and "Origin" not in request.headers:
        line = f"{request.method} {request.raw_path}".encode("latin-1", "replace")
        authorization = request.headers.get("Authorization", "").strip().encode("latin-1", "replace")
        refusals.note(request_key(line, authorization), _refusal(request, response, moment + certain_s.seconds), moment)


def _refusal(request: web.Request, response: web.Response, until: float) -> CachedRefusal:
    body = response.body if isinstance(response.body, bytes) else b""
    headers = {**response.headers, "Content-Length": str(len(body))}
    lines = ["HTTP/1.1 429 Too Many Requests", *(f"{name}: {value}" for name, value in headers.items())]
    head = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
    return CachedRefusal(until, head, body, REFUSED.labels(request[REFUSED_FOR].kind).inc)
