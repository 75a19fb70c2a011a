"""Connections of clients, and the throttling of those that repeat requests which a rate limit refuses.

A request that would certainly be refused is answered before it is parsed, which costs a tenth of handling it. A client
that goes on gets its responses late, and in the end its connection is closed.
"""

import asyncio
import math
import random
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from tidemill.gateway.access.refusal_cache import (
    DELAY_S,
    DELAYED_LIMIT,
    CachedRefusal,
    DelayedRefusal,
    RefusalCache,
    request_key,
)
from tidemill.gateway.access.request_framing import parse_frame
from tidemill.gateway.limits.rates import REFUSED, REFUSED_FOR
from tidemill.runtime.clock import monotonic

THROTTLED: Final = 429
PROMPT_IN_A_ROW: Final = 10  # refusals of one connection that are sent at once
CLOSED_AFTER: Final = 60  # refusals in a row: a minute of late responses
# A connection whose bytes were not tracked from the start is always parsed. Closed, its client opens one that is not.
UNTRACKED_CLOSED_AFTER: Final = 20
TICK_S: Final = 0.1  # how often late responses are sent
EXPIRE_EVERY_S: Final = 10.0
REST_LIMIT_BYTES: Final = 64 * 1024  # that a client sends while its response is delayed
BODY_LIMIT_BYTES: Final = 1024 * 1024  # of a body that is discarded for an early response


class DelayedConnections:
    """The connections that wait for a late response. All that are due are released at one tick: a timer for each would
    cost more than the rest of the work for it.
    """

    def __init__(self) -> None:
        self._ticks: dict[int, list[ClientConnection]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.count = 0

    def add(self, connection: "ClientConnection", delay_s: float) -> None:
        self.count += 1
        self._ticks.setdefault(math.ceil((monotonic() + delay_s) / TICK_S), []).append(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        current = monotonic() / TICK_S
        for tick in [tick for tick in self._ticks if tick <= current]:
            for connection in self._ticks.pop(tick):
                self.count -= 1
                connection.release()
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick) if self._ticks else None


class ClientConnection(RequestHandler):
    """`_remaining`: bytes until the next request begins; negative when that is not known."""

    __slots__ = ("_delayed", "_refusal", "_remaining", "_rest", "cache", "refused")

    def __init__(self, server: "ThrottlingServer", **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self.refused = 0  # requests in a row
        self.cache, self._delayed = server.refusals, server.delayed
        self._remaining = 0
        self._refusal: DelayedRefusal | None = None  # to be sent when the body has come and the delay is over
        self._rest = b""

    @property
    def is_tracked(self) -> bool:
        return self._remaining >= 0

    def data_received(self, data: bytes) -> None:
        if self._refusal is None and (not self.cache.entries or self._remaining < 0 or not data):
            if data:
                self._remaining = -1
            super().data_received(data)
        elif self._refusal is not None:
            self._on_more(data)
        elif self._remaining:  # of a body that the server reads
            self._remaining -= len(data)
            super().data_received(data)
        else:
            self._on_request(data)

    def _on_request(self, data: bytes) -> None:
        """Handle the first bytes of a request."""
        request = parse_frame(data)
        if request is None:
            self._remaining = -1
            super().data_received(data)
            return
        idle = self._waiter is not None and not self._waiter.done() and not self._messages
        if idle and request.size <= len(data) + BODY_LIMIT_BYTES:
            self._refusal = self.cache.find(request_key(request.line, request.authorization), monotonic())
        if self._refusal is None:
            self._remaining = request.size - len(data)
            super().data_received(data)
            return
        self._remaining = max(request.size - len(data), 0)
        self._rest = data[request.size :]
        if not self._remaining:
            self._refuse(self._refusal)

    def _on_more(self, data: bytes) -> None:
        """Handle bytes while a response is delayed: first the rest of the request's body, then pipelined requests."""
        assert self._refusal is not None, "a response is delayed"
        body, self._remaining = self._remaining, max(self._remaining - len(data), 0)
        self._rest += data[body:]
        if len(self._rest) > REST_LIMIT_BYTES:
            self.force_close()
        elif body and not self._remaining:
            self._refuse(self._refusal)

    def _refuse(self, delayed: DelayedRefusal) -> None:
        self.refused += 1
        delayed.refusal.count()
        if not delayed.delay_s:
            self._send()
        elif self._delayed.count >= DELAYED_LIMIT:
            self.force_close()
        elif self.transport is not None:
            self.transport.pause_reading()
            self._delayed.add(
                self, delayed.delay_s * (0.5 + random.random())
            )  # spread, so that not all are due at once

    def release(self) -> None:
        if self.transport is not None and not self._force_close:
            self.transport.resume_reading()
            self._send()

    def _send(self) -> None:
        delayed, self._refusal = self._refusal, None
        rest, self._rest = self._rest, b""
        if delayed is None or self.transport is None:
            return
        refusal, closing = delayed.refusal, self.refused >= CLOSED_AFTER
        self.transport.write(refusal.head + (b"Connection: close\r\n\r\n" if closing else b"\r\n") + refusal.body)
        if closing:
            self.force_close()
        elif rest:
            self.data_received(rest)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._refusal, self._rest = None, b""
        super().connection_lost(exc)


class ThrottlingServer(web.Server):
    """aiohttp's server with `ClientConnection`s."""

    def __init__(self, refusals: RefusalCache, handler: Any, **kwargs: Any) -> None:
        super().__init__(handler, **kwargs)
        self.refusals, self.delayed = refusals, DelayedConnections()

    def __call__(self) -> ClientConnection:
        return ClientConnection(self, loop=self._loop, **self._kwargs)


class ThrottlingRunner(web.AppRunner):
    """aiohttp's runner with a `ThrottlingServer`."""

    def __init__(self, app: web.Application, refusals: RefusalCache, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self._refusals = refusals

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return ThrottlingServer(
            self._refusals, made.request_handler, request_factory=made.request_factory, **self._kwargs
        )


async def expire_refusals(refusals: RefusalCache) -> None:
    """Named task: once no refusal is cached any more, the bytes of connections are not tracked."""
    while True:
        await asyncio.sleep(EXPIRE_EVERY_S)
        refusals.expire(monotonic())


async def delay_refusal(request: web.Request, response: web.StreamResponse) -> None:
    """Call this with each response. It returns when the response may be sent."""
    connection = request.protocol
    if not isinstance(connection, ClientConnection):
        return
    if response.status != THROTTLED or not isinstance(response, web.Response):
        connection.refused = 0
        return
    _cache_refusal(connection.cache, request, response)
    connection.refused += 1
    if connection.refused >= (CLOSED_AFTER if connection.is_tracked else UNTRACKED_CLOSED_AFTER):
        response.force_close()
    if connection.refused > PROMPT_IN_A_ROW:
        await asyncio.sleep(DELAY_S)


def _cache_refusal(refusals: RefusalCache, request: web.Request, response: web.Response) -> None:
    moment, certain = monotonic(), request.get(REFUSED_FOR)
    if certain is not None and "Origin" not in request.headers:
        line = f"{request.method} {request.raw_path}".encode("latin-1", "replace")
        authorization = request.headers.get("Authorization", "").strip().encode("latin-1", "replace")
        refusals.store(request_key(line, authorization), _refusal(request, response, moment + certain.seconds), moment)


def _refusal(request: web.Request, response: web.Response, until: float) -> CachedRefusal:
    body = response.body if isinstance(response.body, bytes) else b""
    headers = {**response.headers, "Content-Length": str(len(body))}
    lines = ["HTTP/1.1 429 Too Many Requests", *(f"{name}: {value}" for name, value in headers.items())]
    head = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
    return CachedRefusal(until, head, body, REFUSED.labels(request[REFUSED_FOR].kind).inc)
