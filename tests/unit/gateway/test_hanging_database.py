"""What a caller hears while the database takes connections and answers nothing."""

import asyncio

import pytest

from tidemill.gateway.access import auth
from tidemill.gateway.access.auth import Accounts
from tidemill.runtime.db import AWAY
from tidemill.security import tokens


class Hanging:
    async def row(self, *_):
        await asyncio.Event().wait()


async def test_a_look_up_that_hangs_ends_as_if_the_database_were_away(monkeypatch):
    monkeypatch.setattr(auth, "LOOK_UP_WITHIN_S", 0.02)
    with pytest.raises(AWAY):
        await asyncio.wait_for(Accounts(Hanging(), 5.0).authenticate(f"Bearer {tokens.new_token()}"), 5)
