import asyncio
from types import SimpleNamespace

import msgspec
import pytest

from tidemill.contracts.api.pushes import BundleFile
from tidemill.hosting.environments.store import EnvironmentFailed
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.worker.cache.downloads import BlobUnavailable
from tidemill.worker.cache.fair_queue import WAITING
from tidemill.worker.cache.prefetch import Prefetcher


class World:
    """A worker's parts that note what is asked of them."""

    def __init__(self, *, stored=0, missing=10, limit=1000):
        self.done, self.held, self.gone, self.stuck, self.failure = [], 0, set(), set(), None
        self.stored, self.missing = stored, missing
        blobs = SimpleNamespace(missing_bytes=lambda _: self.missing, stored_bytes=lambda: self.stored)
        bundles = SimpleNamespace(acquire=self.acquire, release=self.release)
        environments = SimpleNamespace(ensure=self.ensure)
        self.prefetch = Prefetcher(self, blobs, bundles, environments, SimpleNamespace(get=self.zygote), limit)

    async def row(self, _sql, queue):
        if queue in self.gone:
            return None
        files = msgspec.json.encode([BundleFile(path="a", sha256="0" * 64, size=10)]).decode()
        return {"queue": queue, "files": files, "config": msgspec.json.encode(ModelConfig(entry="a:B")).decode()}

    async def acquire(self, queue, files):
        self.held += 1
        self.done.append(queue)

    def release(self, _queue):
        self.held -= 1

    async def ensure(self, config):
        if self.done[-1] in self.stuck:
            await asyncio.Event().wait()
        if self.failure:
            raise self.failure
        return config

    async def zygote(self, _environment):
        self.done.append("zygote")


async def test_files_environment_and_zygote_lie_ready_afterwards():
    world = World()
    assert await world.prefetch.fetch("q") == "fetched"
    assert world.done == ["q", "zygote"]
    assert world.held == 0


async def test_a_version_that_is_gone():
    world = World()
    world.gone.add("q")
    assert await world.prefetch.fetch("q") == "gone"
    assert world.done == []


@pytest.mark.parametrize(
    ("stored", "missing", "result"),
    [(790, 10, "fetched"), (791, 10, "full"), (5000, 0, "fetched"), (0, 801, "full")],
)
async def test_it_takes_free_space_and_never_makes_any(stored, missing, result):
    assert await World(stored=stored, missing=missing).prefetch.fetch("q") == result


@pytest.mark.parametrize("failure", [EnvironmentFailed("no"), BlobUnavailable("no"), OSError(28, "full")])
async def test_one_that_fails_stops_neither_the_worker_nor_the_next(failure):
    world = World()
    world.failure = failure
    task = asyncio.create_task(world.prefetch.run())
    for queue in ("a", "b"):
        world.prefetch.add("", queue)
    async with asyncio.timeout(120):
        while world.done != ["a", "b"]:
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert world.held == 0


async def test_a_flood_is_bounded_and_the_latest_count():
    world = World()
    for number in range(WAITING + 5):
        world.prefetch.add("", str(number))
        world.prefetch.add("", str(number))
    task = asyncio.create_task(world.prefetch.run())
    async with asyncio.timeout(120):
        while len(world.done) < 2 * WAITING:
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.wait([task])
    assert [each for each in world.done if each != "zygote"] == [str(number) for number in range(5, WAITING + 5)]


async def test_one_that_takes_for_ever_holds_no_other_accounts_version():
    world = World()
    world.stuck.add("hostile")
    task = asyncio.create_task(world.prefetch.run())
    for queue in ("hostile", "hers too"):
        world.prefetch.add("mallory", queue)
    await asyncio.sleep(0)
    world.prefetch.add("bob", "his")
    async with asyncio.timeout(60):
        while world.done != ["hostile", "his", "zygote"]:
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert world.held == 0
