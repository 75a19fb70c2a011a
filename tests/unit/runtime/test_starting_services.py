import asyncio

import pytest

from tidemill.runtime.config import Common
from tidemill.runtime.db import Database
from tidemill.runtime.service import Service, StartError


@pytest.mark.parametrize("url", ["garbage", "postgresql://host:port/x"])
async def test_a_database_url_that_is_none_is_not_waited_for(url):
    with pytest.raises(StartError, match="TIDEMILL_DATABASE_URL"):
        async with asyncio.timeout(120):
            await Database(url).__aenter__()


async def test_a_service_that_waits_tells_for_which_of_its_parts():
    service = Service("scheduler", Common(database_url="", nats_url=""))
    asked = {}

    async def database_that_is_away():
        asked.update(service.not_ready())
        service.stopping.set()
        await asyncio.Event().wait()

    service.start("database", database_that_is_away)
    assert not await service._start_parts()
    assert asked == {"service": "starting: database"}
