"""A version that one worker has built is fetched by another, with its own cache, before anybody runs it."""

import pytest

from tidemill.hosting.child.zygotes import Zygotes
from tidemill.hosting.scratch import Scratch
from tidemill.worker.cache.blobs import BlobCache, ObjectStoreBlobs
from tidemill.worker.cache.bundles import BundleCache
from tidemill.worker.cache.prefetch import Prefetcher


@pytest.fixture
async def other(workshop, tmp_path):
    """Another worker's cache."""
    home = tmp_path / "other"
    home.mkdir()
    with Scratch(home) as scratch:
        blobs = BlobCache(home / "blobs", ObjectStoreBlobs(workshop.objects), scratch)
        bundles = BundleCache(home / "versions", blobs, scratch)
        zygotes = Zygotes(home)
        yield Prefetcher(workshop.database, blobs, bundles, workshop.environments, zygotes, 10**9), home
        await zygotes.close()
        await bundles.close()


async def test_who_builds_a_version_tells_and_others_fetch_it(workshop, other):
    prefetch, home = other
    files = await workshop.upload(cog__yaml=b"predict: 'predict.py:Predictor'\n", predict__py=b"x = 1")
    await workshop.push(files)
    assert await workshop.pushes.build_next()
    (version,) = await workshop.versions()
    assert workshop.announced == [version["queue"]]

    assert await prefetch.fetch(workshop.announced[0]) == "fetched"
    assert (home / "versions" / version["queue"] / "src" / "predict.py").read_bytes() == b"x = 1"
    assert (home / "zygotes.json").exists()

    await workshop.push(files)  # the same version again is no news
    assert await workshop.pushes.build_next()
    assert len(workshop.announced) == 1
