"""Responses while the database accepts connections but does not reply, and when it dies during a statement."""

import asyncio
from types import SimpleNamespace

import asyncpg
import pytest
from aiohttp.test_utils import make_mocked_request

from tidemill.gateway import http
from tidemill.gateway.access import callers
from tidemill.gateway.access.callers import CallerCache
from tidemill.runtime.db import TRANSIENT_ERRORS
from tidemill.security import tokens


class Hanging:
    async def row(self, *_):
        await asyncio.Event().wait()


async def test_a_look_up_that_hangs_ends_as_if_the_database_were_away(monkeypatch):
    monkeypatch.setattr(callers, "LOOK_UP_WITHIN_S", 0.02)
    with pytest.raises(TRANSIENT_ERRORS):
        await asyncio.wait_for(CallerCache(Hanging(), 5.0).get(f"Bearer {tokens.new_token()}"), 5)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.CannotConnectNowError("the database system is shutting down"),
        asyncpg.InterfaceError("connection is closed"),
        ConnectionResetError(),
    ],
)
async def test_a_database_that_dies_amid_a_statement_is_answered_with_when_to_come_again(error):
    async def handler(_call):
        raise error

    operation = SimpleNamespace(handler=handler, scope=None, rate_kind="read", anonymous=True, signed=False)
    route = SimpleNamespace(operation=operation, path="/x", method="GET")
    authenticator, draining = SimpleNamespace(throttle_anonymous=lambda *_: None), SimpleNamespace(on=False)
    parts = SimpleNamespace(authenticator=authenticator, draining=draining, request_urls=None)
    answer = await http.bind(parts, route)(make_mocked_request("GET", "/x"))
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
