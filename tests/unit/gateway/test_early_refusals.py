"""Early refusals: which bytes are a request, how long a refusal is certain, and which responses are delayed."""

import asyncio

import pytest
from aiohttp import web

from tidemill.gateway.access import connections
from tidemill.gateway.access.connections import (
    CLOSED_AFTER,
    PROMPT_IN_A_ROW,
    ClientConnection,
    ThrottlingServer,
    delay_refusal,
)
from tidemill.gateway.access.refusal_cache import (
    CERTAIN_S,
    DELAY_S,
    LIMIT,
    PROMPT,
    CachedRefusal,
    RefusalCache,
    request_key,
)
from tidemill.gateway.access.request_framing import parse_frame
from tidemill.gateway.limits.rates import REFUSED_FOR, CertainRefusal
from tidemill.runtime.clock import monotonic
from tidemill.testing.tasks import shortly

LINE = b"POST /v1/predictions"
BODY = b'{"input": {}}'
HEAD = b"POST /v1/predictions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\n"
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


def test_a_plain_request_is_framed():
    request = parse_frame(WHOLE + b"next")
    assert request == (LINE, b"Bearer t", len(WHOLE))
    assert parse_frame(b"GET /x?y HTTP/1.1\r\nauthorization:Token  u \r\n\r\n").authorization == b"Token  u"
    assert parse_frame(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n") == (
        b"GET /x",
        b"",
        len(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    )


@pytest.mark.parametrize(
    "data",
    [
        HEAD,
        WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        WHOLE.replace(b"POST", b"HEAD"),
        WHOLE.replace(b"Host: h", b"Transfer-Encoding: chunked"),
        WHOLE.replace(b"Host: h", b"transfer-encoding : chunked\r\nTransfer-Encoding:chunked"),
        WHOLE.replace(b"Host: h", b"Expect: 100-continue"),
        WHOLE.replace(b"Host: h", b"Origin: https://app.example"),
        WHOLE.replace(b"Host: h", b"Upgrade: websocket"),
        WHOLE.replace(b"Host: h", b"Connection: close"),
        WHOLE.replace(b"Host: h", b"Content-Length: 5"),
        WHOLE.replace(b"Host: h", b"Authorization: Bearer other"),
        WHOLE.replace(b"Host: h", b"X: a\nTransfer-Encoding: chunked"),
        WHOLE.replace(b"Host: h", b"X: a\r\n folded: b"),
        WHOLE.replace(b"Content-Length: 13", b"Content-Length: +13"),
        WHOLE.replace(b"Content-Length: 13", b"Content-Length: 1_3"),
        b"",
    ],
)
def test_what_could_be_understood_in_two_ways_is_left_to_the_server(data):
    assert parse_frame(data) is None


def refusal(until, body=b"{}"):
    return CachedRefusal(until, b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n", body, lambda: None)


def test_a_refusal_is_told_again_for_as_long_as_it_is_certain():
    refusals = RefusalCache()
    refusals.store(b"k", refusal(100.3), 100.0)
    assert refusals.find(b"k", 100.2).refusal.body == b"{}"
    assert refusals.find(b"other", 100.2) is None
    assert refusals.find(b"k", 100.3) is None
    refusals.store(b"k", refusal(500.0), 101.0)
    assert refusals.find(b"k", 101.0 + CERTAIN_S) is None


def test_who_asks_again_and_again_is_answered_late():
    refusals = RefusalCache()
    refusals.store(b"k", refusal(101.0), 100.0)
    holds = [refusals.find(b"k", 100.0).delay_s for _ in range(PROMPT.burst + 3)]
    assert holds == [0.0] * PROMPT.burst + [DELAY_S] * 3
    refusals.store(b"k", refusal(102.0), 100.5)  # another came through and was refused: that changes nothing
    assert [refusals.find(b"k", 100.5).delay_s for _ in range(6)] == [0.0] * 5 + [DELAY_S]


def test_of_those_who_ask_again_and_again_one_at_a_time_is_looked_at():
    refusals = RefusalCache()
    refusals.store(b"k", refusal(100.1), 100.0)
    refusals.entries[b"k"].prompt_at = 200.0
    assert [refusals.find(b"k", 100.11) is None for _ in range(3)] == [True, False, False]
    assert refusals.find(b"k", 100.17) is None  # the next one may have come due
    refusals.entries[b"k"].prompt_at = 0.0  # who asks now and then is always looked at
    assert [refusals.find(b"k", 300.0) for _ in range(3)] == [None] * 3


def test_refusals_are_forgotten_and_bounded():
    refusals = RefusalCache()
    for number in range(LIMIT + 1):
        refusals.store(b"%d" % number, refusal(1.0), 0.0)
    assert len(refusals.entries) == 1
    refusals.expire(1000.0)
    assert not refusals.entries


class Transport(asyncio.Transport):
    def __init__(self):
        super().__init__()
        self.written, self.closed, self.paused = b"", False, False

    def write(self, data):
        self.written += bytes(data)

    def writelines(self, pieces):
        self.written += b"".join(pieces)

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True


class World:
    """A server whose handler notes what reaches it, and refuses what it is told to."""

    def __init__(self):
        self.refusals, self.reached = RefusalCache(), []
        self.server = ThrottlingServer(self.refusals, self.handle, access_log=None)

    async def handle(self, request):
        self.reached.append((request.path, (await request.read()).decode()))
        return web.Response(text="served")

    def connect(self):
        connection, transport = self.server(), Transport()
        connection.connection_made(transport)
        return connection, transport

    def refuse(self, line=LINE, seconds=1.0):
        self.refusals.store(request_key(line, b"Bearer t"), refusal(monotonic() + seconds), monotonic())


@pytest.fixture
async def world():
    made = World()
    yield made
    made.server.pre_shutdown()
    await made.server.shutdown(1)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr("tidemill.gateway.access.refusal_cache.DELAY_S", 0.01)
    monkeypatch.setattr(connections, "DELAY_S", 0.01)


async def ready(connection):
    await shortly(lambda: connection._waiter is not None)


async def test_a_certain_refusal_never_reaches_the_server(world):
    connection, transport = world.connect()
    await ready(connection)
    world.refuse()
    connection.data_received(WHOLE)
    assert transport.written.startswith(b"HTTP/1.1 429 ")
    assert transport.written.endswith(b"\r\n\r\n{}")
    assert not world.reached
    connection.data_received(WHOLE.replace(b"Bearer t", b"Bearer u"))  # somebody else behind the same proxy
    await shortly(lambda: b"served" in transport.written)
    assert world.reached == [("/v1/predictions", BODY.decode())]


@pytest.mark.parametrize("cut", [20, len(WHOLE) - len(BODY), len(WHOLE) - 1])
async def test_a_request_that_comes_in_pieces_is_answered_once_and_the_next_one_is_understood(world, cut):
    connection, transport = world.connect()
    await ready(connection)
    world.refuse()
    connection.data_received(WHOLE[:cut])
    connection.data_received(WHOLE[cut:])
    await shortly(lambda: transport.written)
    await ready(connection)
    world.refusals.entries.clear()
    connection.data_received(WHOLE)
    await shortly(lambda: transport.written.count(b"HTTP/1.1 ") == 2)
    assert world.reached[-1] == ("/v1/predictions", BODY.decode())


async def test_a_body_that_holds_a_request_is_none(world):
    """Whoever begins to look amid a body must not take what it holds for a request."""
    connection, transport = world.connect()
    await ready(connection)
    connection.data_received(HEAD + b"Content-Length: %d\r\n\r\n" % len(WHOLE))
    world.refuse()
    connection.data_received(WHOLE)
    await shortly(lambda: b"served" in transport.written)
    assert world.reached == [("/v1/predictions", WHOLE.decode())]
    assert b"429" not in transport.written


async def test_late_answers_hold_the_connection_and_what_follows_waits(world, short):
    connection, transport = world.connect()
    await ready(connection)
    world.refuse()
    world.refusals.entries[request_key(LINE, b"Bearer t")].prompt_at = monotonic() + 3600
    other = WHOLE.replace(b"/v1/predictions", b"/v1/other")
    connection.data_received(WHOLE + other)
    assert transport.paused
    assert not transport.written
    await shortly(lambda: b"served" in transport.written)
    assert transport.written.startswith(b"HTTP/1.1 429 ")
    assert not transport.paused
    assert world.server.delayed.count == 0


async def test_a_connection_that_was_refused_very_often_is_closed(world):
    connection, transport = world.connect()
    await ready(connection)
    world.refuse()
    connection.refused = CLOSED_AFTER - 1
    connection.data_received(WHOLE)
    assert b"Connection: close\r\n\r\n{}" in transport.written
    assert transport.closed


async def test_a_client_that_leaves_while_its_answer_is_held_leaves_nothing(world, short):
    connection, transport = world.connect()
    await ready(connection)
    world.refuse()
    world.refusals.entries[request_key(LINE, b"Bearer t")].prompt_at = monotonic() + 3600
    connection.data_received(WHOLE)
    assert world.server.delayed.count == 1
    connection.connection_lost(None)
    await shortly(lambda: world.server.delayed.count == 0)
    assert not transport.written


async def test_what_the_server_refuses_is_noted_held_and_forgotten_with_the_first_success(short):
    refusals = RefusalCache()
    server = ThrottlingServer(refusals, None, access_log=None)
    connection = ClientConnection(server, loop=asyncio.get_running_loop())
    request = _Request(connection, {REFUSED_FOR: CertainRefusal(0.5, "creates")})
    for _ in range(PROMPT_IN_A_ROW + 1):
        await delay_refusal(request, web.Response(status=429, body=b"{}", headers={"Retry-After": "1"}))
    noted = refusals.find(request_key(LINE, b"Bearer t"), monotonic()).refusal
    assert b"Retry-After: 1\r\n" in noted.head
    assert b"Content-Length: 2\r\n" in noted.head
    assert connection.refused == PROMPT_IN_A_ROW + 1
    await delay_refusal(request, web.Response())
    assert connection.refused == 0


async def test_a_connection_whose_bytes_were_not_followed_is_closed_sooner(short):
    refusals = RefusalCache()
    connection = ClientConnection(ThrottlingServer(refusals, None, access_log=None), loop=asyncio.get_running_loop())
    connection._remaining = -1
    closing = []
    for _ in range(connections.UNTRACKED_CLOSED_AFTER):
        response = web.Response(status=429)
        await delay_refusal(_Request(connection, {}), response)
        closing.append(response.keep_alive is False)
    assert closing == [False] * (connections.UNTRACKED_CLOSED_AFTER - 1) + [True]


class _Request(dict):
    """Of a request only what is looked at."""

    method, raw_path = "POST", "/v1/predictions"

    def __init__(self, protocol, items):
        super().__init__(items)
        self.protocol, self.headers = protocol, {"Authorization": "Bearer t"}
