"""The whole service: it leads, sweeps, and stops when told to."""

from tidemill.storage_janitor.main import build
from tidemill.testing.running import until
from tidemill.testing.services import Services


async def test_two_janitors_remove_what_is_due(config, world):
    janitors = Services(build, config)
    for _ in range(2):
        await janitors.start(every_s=0.2)
    prediction = await world.prediction(files=["a"])
    await until("its data to go", lambda: world.removed(prediction))
    assert await world.keys("outputs/") == set()
    await janitors.close()
