"""The whole service: it leads, sweeps, and stops when told to."""

import pytest

from tidemill.storage_janitor.main import build
from tidemill.testing.running import until
from tidemill.testing.services import Services


@pytest.fixture
async def janitors(config):
    janitors = Services(build, config)
    yield janitors
    await janitors.close()


async def test_two_janitors_remove_what_is_due(janitors, world):
    # Before they start: a scan of an empty table begins an hour ago and would never come back to this row.
    prediction = await world.prediction(files=["a"])
    for _ in range(2):
        await janitors.start(every_s=0.2)
    await until("its data to go", lambda: world.removed(prediction))
    assert await world.keys("outputs/") == set()
