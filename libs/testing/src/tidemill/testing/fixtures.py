"""Fixtures for every folder of tests that has a `config` of its own: the clients of what that names."""

from collections.abc import AsyncIterator

import pytest

from tidemill.runtime.bus import Bus
from tidemill.runtime.config import Common
from tidemill.runtime.db import Database


@pytest.fixture
async def database(config: Common) -> AsyncIterator[Database]:
    async with Database(config.database_url) as database:
        yield database


@pytest.fixture
async def bus(config: Common) -> AsyncIterator[Bus]:
    async with Bus(config.nats_url, "test") as bus:
        yield bus
