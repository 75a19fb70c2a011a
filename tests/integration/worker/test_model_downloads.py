"""Model files from the real store: in pieces, on several connections, and on with them in the next process."""

import asyncio
import hashlib
import random

import pytest

from tidemill.contracts.api.pushes import BundleFile
from tidemill.contracts.bundle import blob_key
from tidemill.hosting.scratch import Scratch
from tidemill.runtime.objects import retries
from tidemill.runtime.objects.store import ObjectStoreError
from tidemill.worker.cache import downloads
from tidemill.worker.cache.blobs import BlobCache, BlobUnavailable, ObjectStoreBlobs

PIECE = 64 * 1024


@pytest.fixture
async def stored(worker_servers, monkeypatch):
    monkeypatch.setattr(downloads, "PIECE_BYTES", PIECE)
    monkeypatch.setattr(retries, "backoffs", lambda: iter([0.0] * 3))
    content = random.Random(6).randbytes(9 * PIECE + 17)
    digest = hashlib.sha256(content).hexdigest()
    await worker_servers.objects.put(blob_key(digest), content, "application/octet-stream")
    return content, BundleFile(path="weights", sha256=digest, size=len(content))


class Cut(ObjectStoreBlobs):
    """Each connection ends after `after` bytes; the store goes away once `lasts` connections have been made."""

    def __init__(self, objects, after, lasts=10**6):
        super().__init__(objects)
        self.after, self.lasts = after, lasts

    def open(self, digest, start, stop):
        self.lasts -= 1
        if self.lasts < 0:
            raise ObjectStoreError("away")
        return super().open(digest, start, min(stop, start + self.after))


async def fetched(tmp_path, source, file):
    with Scratch(tmp_path) as scratch:
        blobs = BlobCache(tmp_path / "blobs", source, scratch)
        try:
            await blobs.fetch([file])
        finally:
            await blobs.close()
        return blobs.path(file).read_bytes()


async def test_a_large_file_arrives_whole(worker_servers, stored, tmp_path):
    content, file = stored
    assert await fetched(tmp_path, ObjectStoreBlobs(worker_servers.objects), file) == content
    assert list((tmp_path / "blobs" / "partial").iterdir()) == []


async def test_connections_that_break_and_a_worker_that_ends_lose_nothing(worker_servers, stored, tmp_path):
    content, file = stored
    with pytest.raises(BlobUnavailable):
        await fetched(tmp_path, Cut(worker_servers.objects, after=25_000, lasts=20), file)
    assert (tmp_path / "blobs" / "partial" / file.sha256).exists()
    source = Cut(worker_servers.objects, after=25_000)
    assert await fetched(tmp_path, source, file) == content
    assert 10**6 - source.lasts < 3 * 10  # three connections a piece, and not for all of them


async def test_a_file_that_the_store_holds_shorter(worker_servers, stored, tmp_path):
    content, file = stored
    await worker_servers.objects.put(blob_key(file.sha256), content[:-PIECE], "x/y")
    async with asyncio.timeout(60):
        with pytest.raises(BlobUnavailable, match="other bytes"):
            await fetched(tmp_path, ObjectStoreBlobs(worker_servers.objects), file)
