import asyncio
import hashlib
import os
import stat
import time
from contextlib import asynccontextmanager, suppress

import pytest

from tidemill.contracts.api.pushes import BundleFile
from tidemill.contracts.ids import new_id
from tidemill.hosting.scratch import Scratch
from tidemill.runtime.objects import retries
from tidemill.runtime.objects.store import ObjectMissing, ObjectStoreError
from tidemill.security.bundle_paths import BundleError
from tidemill.worker.cache.blobs import BlobCache, BlobUnavailable
from tidemill.worker.cache.bundles import BundleCache


class FakeSource:
    """Blobs by digest; `fail` says how often each open fails, `gate` holds reads back."""

    def __init__(self):
        self.content, self.opened, self.fail, self.gate = {}, [], 0, None

    def add(self, path, content, executable=False):
        digest = hashlib.sha256(content).hexdigest()
        self.content[digest] = content
        return BundleFile(path=path, sha256=digest, size=len(content), executable=executable)

    @asynccontextmanager
    async def open(self, digest, start, stop):
        self.opened.append(digest)
        if self.fail:
            self.fail -= 1
            raise ObjectStoreError("away")
        if digest not in self.content:
            raise ObjectMissing(digest)
        yield self.chunks(self.content[digest][start:stop])

    async def chunks(self, content):
        for start in range(0, len(content), 7):
            if self.gate is not None:
                await self.gate.wait()
            yield content[start : start + 7]


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr(retries, "backoffs", lambda: iter([0.0] * 3))


@pytest.fixture
def source():
    return FakeSource()


@pytest.fixture
def scratch(tmp_path):
    with Scratch(tmp_path) as scratch:
        yield scratch


@pytest.fixture
async def cache(tmp_path, source, scratch):
    blobs = BlobCache(tmp_path / "blobs", source, scratch)
    bundles = BundleCache(tmp_path / "versions", blobs, scratch)
    yield bundles
    await bundles.close()


@pytest.fixture
def model(source):
    return [
        source.add("cog.yaml", b"predict: x"),
        source.add("bin/run.sh", b"#!/bin/sh\n", executable=True),
        source.add("weights/a/b.bin", b"w" * 1000),
        source.add("same.yaml", b"predict: x"),
        source.add("empty", b""),
        source.add("data/run.sh", b"#!/bin/sh\n"),
    ]


def left_over(tmp_path):
    return [path for path in (tmp_path / "scratch").rglob("*") if path.is_file() and path.suffix != ".lock"]


async def test_a_version_is_what_its_index_says(cache, model, tmp_path, source):
    directory = await cache.acquire(new_id(), model)
    assert (directory / "cog.yaml").read_bytes() == b"predict: x"
    assert (directory / "weights/a/b.bin").read_bytes() == b"w" * 1000
    assert (directory / "empty").read_bytes() == b""
    assert stat.S_IMODE((directory / "bin/run.sh").stat().st_mode) == 0o555
    assert stat.S_IMODE((directory / "data/run.sh").stat().st_mode) == 0o444
    assert stat.S_IMODE((directory / "weights/a").stat().st_mode) == 0o555
    assert not any(path.is_symlink() for path in directory.rglob("*"))
    assert (directory / "cog.yaml").stat().st_ino == (directory / "same.yaml").stat().st_ino
    assert len(source.opened) == len(set(source.opened)) == 3  # an empty file is known
    assert left_over(tmp_path) == []


async def test_what_is_there_is_not_fetched_again(cache, model, source):
    queue = new_id()
    first = await cache.acquire(queue, model)
    fetched = len(source.opened)
    assert await cache.acquire(queue, model) == first
    other = await cache.acquire(new_id(), model)
    assert other != first
    assert len(source.opened) == fetched


async def test_many_who_ask_share_one_download(cache, model, source):
    source.gate = asyncio.Event()
    queue = new_id()
    asking = [asyncio.create_task(cache.acquire(each, model)) for each in (queue, queue, new_id())]
    while len(source.opened) < 3:
        await asyncio.sleep(0)
    asking[0].cancel()
    with suppress(asyncio.CancelledError):
        await asking[0]
    source.gate.set()
    assert (await asking[1]).exists()
    assert (await asking[2]).exists()
    assert len(source.opened) == 3


async def test_a_store_that_stumbles_is_asked_again(cache, model, source):
    source.fail = 3
    await cache.acquire(new_id(), model)


async def test_a_store_that_is_away(cache, model, source, tmp_path):
    source.fail = 100
    with pytest.raises(BlobUnavailable, match="could not be fetched"):
        await cache.acquire(new_id(), model)
    assert left_over(tmp_path) == []
    assert list((tmp_path / "versions").glob("*")) == []


async def test_what_the_store_does_not_have(cache, model, source):
    del source.content[model[2].sha256]
    with pytest.raises(BlobUnavailable, match="not in the store"):
        await cache.acquire(new_id(), model)


@pytest.mark.parametrize("wrong", [b"v" * 1000, b"w" * 999, b""])
async def test_other_bytes_than_the_digest_says(cache, model, source, tmp_path, wrong):
    source.content[model[2].sha256] = wrong
    with pytest.raises(BlobUnavailable, match="other bytes"):
        await cache.acquire(new_id(), model)
    assert not (tmp_path / "blobs" / model[2].sha256[:2] / model[2].sha256).exists()
    assert left_over(tmp_path) == []


async def test_paths_are_checked_on_this_side_too(cache, source):
    with pytest.raises(BundleError):
        await cache.acquire(new_id(), [source.add("cog.yaml", b""), source.add("../x", b"")])
    assert source.opened == []
    with pytest.raises(ValueError, match="queue"):
        await cache.acquire("../x", [source.add("cog.yaml", b"")])


async def test_a_version_without_its_marker_is_made_again(cache, model, tmp_path):
    queue = new_id()
    directory = await cache.acquire(queue, model)
    (directory.parent / "complete").unlink()
    (directory.parent / "stray").write_text("")
    assert await cache.acquire(queue, model) == directory
    assert not (directory.parent / "stray").exists()
    assert (directory / "cog.yaml").exists()


async def test_a_blob_cut_short_is_fetched_again(cache, model, tmp_path, source):
    await cache.acquire(new_id(), model)
    path = tmp_path / "blobs" / model[2].sha256[:2] / model[2].sha256
    path.chmod(0o600)
    path.unlink()
    path.write_bytes(b"w")
    directory = await cache.acquire(new_id(), model)
    assert (directory / "weights/a/b.bin").read_bytes() == b"w" * 1000


async def test_a_crash_at_any_step_leaves_nothing_half(cache, model, tmp_path, monkeypatch, source):
    """Every call that changes the file system fails once; the next acquire makes the version whole."""
    names = ("link", "chmod", "rename", "replace", "fsync", "mkdir")
    for name in names:
        queue = new_id()
        target = os if hasattr(os, name) else None
        real, left = getattr(target, name), [1]

        def failing(*args, real=real, left=left, **kwargs):
            if left:
                left.pop()
                raise OSError(28, "No space left on device")
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(os, name, failing)
            try:
                await cache.acquire(queue, model)
            except OSError:
                assert not (tmp_path / "versions" / queue).exists()
        directory = await cache.acquire(queue, model)
        assert (directory / "weights/a/b.bin").read_bytes() == b"w" * 1000
        await cache.evict(0)


async def test_eviction_spares_what_is_in_use(cache, model, tmp_path, source):
    used, idle = new_id(), new_id()
    await cache.acquire(used, model)
    big = source.add("big", b"b" * 5000)
    await cache.acquire(idle, [*model, big])
    cache.release(idle)
    removals = await cache.evict(0)
    assert removals.queues == (idle,)
    assert removals.freed_bytes == 5000
    assert (tmp_path / "versions" / used / "src" / "cog.yaml").exists()
    assert not (tmp_path / "versions" / idle).exists()
    cache.release(used)
    await cache.evict(0)
    assert list((tmp_path / "versions").glob("*")) == []
    assert list((tmp_path / "blobs").glob("??/*")) == []
    await cache.acquire(used, model)


async def test_what_was_begun_long_ago_goes_with_an_eviction(cache, tmp_path):
    partials = tmp_path / "blobs" / "partial"
    partials.mkdir(parents=True)
    for name, age_s in (("old", 90_000), ("old.pieces", 90_000), ("new", 10)):
        (partials / name).write_bytes(b"x")
        then = time.time() - age_s
        os.utime(partials / name, (then, then))
    await cache.evict(0)
    assert [path.name for path in partials.iterdir()] == ["new"]


async def test_a_blob_evicted_between_check_and_link_is_fetched_again(cache, model, tmp_path, monkeypatch):
    await cache.acquire(new_id(), model)
    real, left = BlobCache.link, [1]

    def link(self, file, target):
        if left:
            left.pop()
            self.path(file).unlink()
        real(self, file, target)

    monkeypatch.setattr(BlobCache, "link", link)
    directory = await cache.acquire(new_id(), model)
    assert (directory / "cog.yaml").read_bytes() == b"predict: x"


async def test_more_links_than_the_file_system_allows(cache, model, monkeypatch):
    def link(*_args, **_kwargs):
        raise OSError(31, "Too many links")

    monkeypatch.setattr(os, "link", link)
    directory = await cache.acquire(new_id(), model)
    assert (directory / "cog.yaml").read_bytes() == b"predict: x"
    assert stat.S_IMODE((directory / "bin/run.sh").stat().st_mode) == 0o555


async def test_discard(cache, model, tmp_path):
    queue = new_id()
    directory = await cache.acquire(queue, model)
    await cache.discard(queue)
    assert directory.exists()
    cache.release(queue)
    await cache.discard(queue)
    assert not directory.parent.exists()


def test_scratch_of_dead_processes_is_removed_and_of_live_ones_is_not(tmp_path):
    with Scratch(tmp_path) as live:
        kept = live.fresh()
        kept.write_text("")
        dead = Scratch(tmp_path)
        dead.__enter__()
        lost = dead.fresh()
        (lost / "a").mkdir(parents=True)
        (lost / "a").chmod(0o500)
        os.close(dead._lock)  # what the end of a process does
        with Scratch(tmp_path):
            assert kept.exists()
            assert not lost.exists()
    assert list((tmp_path / "scratch").iterdir()) == []
