"""The whole service: it leads, sweeps, and stops when told to."""

import asyncio

from tidemill.storage_janitor.config import Config
from tidemill.storage_janitor.main import build


async def test_two_janitors_remove_what_is_due(config, world, wait_until):
    given = {name: getattr(config, name) for name in config.__struct_fields__}
    services = [await build(Config(**{**given, "every_s": 0.2})) for _ in range(2)]
    running = [asyncio.create_task(service.run()) for service in services]
    prediction = await world.prediction(files=["a"])
    await wait_until("its data to go", lambda: world.removed(prediction))
    assert await world.keys("outputs/") == set()
    for service in services:
        service.stopping.set()
    assert await asyncio.gather(*running) == [0, 0]
