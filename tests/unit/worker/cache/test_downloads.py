import asyncio
import hashlib
import os
import random
from contextlib import asynccontextmanager

import pytest

from tidemill.runtime.objects import retries
from tidemill.runtime.objects.store import ObjectMissing, ObjectStoreError
from tidemill.worker.cache import downloads
from tidemill.worker.cache.downloads import BlobUnavailable, Download

PIECE = 1000
CONTENT = random.Random(4).randbytes(10 * PIECE + 123)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Store:
    """`cuts` are byte positions at which a connection that reads over them breaks, once each; `asked` what was sent."""

    def __init__(self, content=CONTENT):
        self.content, self.cuts, self.quiet_cuts, self.asked = content, set(), set(), []
        self.flip_once, self.sent, self.open_now, self.most_open = None, 0, 0, 0
        self.dead_after = None

    @asynccontextmanager
    async def open(self, _digest, start, stop):
        self.asked.append((start, stop))
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            yield self.read(start, stop)
        finally:
            self.open_now -= 1

    async def read(self, start, stop):
        for at in range(start, stop, 100):
            await asyncio.sleep(0)
            chunk = bytearray(self.content[at : min(at + 100, stop)])
            if self.dead_after is not None and self.sent >= self.dead_after:
                raise ObjectStoreError("away")
            for cuts, error in ((self.cuts, True), (self.quiet_cuts, False)):
                hit = next((cut for cut in cuts if at <= cut < at + len(chunk)), None)
                if hit is not None:
                    cuts.discard(hit)
                    yield bytes(chunk[: hit - at])
                    if error:
                        raise ObjectStoreError("broken")
                    return
            if self.flip_once is not None and at <= self.flip_once < at + len(chunk):
                chunk[self.flip_once - at] ^= 1
                self.flip_once = None
            self.sent += len(chunk)
            if chunk:
                yield bytes(chunk)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(downloads, "PIECE_BYTES", PIECE)
    monkeypatch.setattr(downloads, "BUFFER_BYTES", 150)
    monkeypatch.setattr(retries, "backoffs", lambda: iter([0.0] * 3))


@pytest.fixture
def partial(tmp_path):
    return tmp_path / "partial" / DIGEST


def download(store, partial, slots=8):
    return Download(store, asyncio.Semaphore(slots), partial, DIGEST, len(CONTENT))


async def test_pieces_come_several_at_a_time_each_once(partial):
    store = Store()
    await download(store, partial).run()
    assert partial.read_bytes() == CONTENT
    assert sorted(store.asked) == [(at, min(at + PIECE, len(CONTENT))) for at in range(0, len(CONTENT), PIECE)]
    assert store.most_open == downloads.PARALLEL_OF_A_FILE


async def test_connections_are_shared_with_other_files(partial):
    store = Store()
    await download(store, partial, slots=2).run()
    assert store.most_open == 2


async def test_a_broken_connection_goes_on_where_it_broke(partial):
    store = Store()
    store.cuts = {550, 4321, 10_050}
    store.quiet_cuts = {7777}
    await download(store, partial).run()
    assert partial.read_bytes() == CONTENT
    assert {(550, 1000), (4321, 5000), (7777, 8000), (10_050, 10_123)} <= set(store.asked)
    assert store.sent <= len(CONTENT)  # nothing twice


async def test_progress_is_worth_more_tries(partial):
    store = Store()
    store.cuts = set(range(10, 1000, 50))
    await download(store, partial).run()
    assert partial.read_bytes() == CONTENT


async def test_the_next_process_goes_on_with_what_came(partial):
    store = Store()
    store.dead_after = 6 * PIECE
    with pytest.raises(BlobUnavailable, match="could not be fetched"):
        await download(store, partial).run()
    again = Store()
    await download(again, partial).run()
    assert partial.read_bytes() == CONTENT
    assert 0 < again.sent < len(CONTENT) - PIECE


async def test_a_wrong_byte_is_noticed_and_fetched_again(partial):
    store = Store()
    store.flip_once = 5_005
    await download(store, partial).run()
    assert partial.read_bytes() == CONTENT


async def test_what_was_kept_wrong_by_a_crash_is_fetched_again(partial):
    store = Store()
    store.dead_after = 6 * PIECE
    with pytest.raises(BlobUnavailable):
        await download(store, partial).run()
    done = int((partial.parent / f"{DIGEST}.pieces").read_text().split()[0])
    descriptor = os.open(partial, os.O_WRONLY)
    os.pwrite(descriptor, b"\0" * 100, done * PIECE)
    os.close(descriptor)
    await download(Store(), partial).run()
    assert partial.read_bytes() == CONTENT


@pytest.mark.parametrize("record", ["x\n1", "99\n-1\n\n", "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"])
async def test_a_record_that_says_nonsense(partial, record):
    partial.parent.mkdir()
    partial.write_bytes(b"\1" * len(CONTENT))
    (partial.parent / f"{DIGEST}.pieces").write_text(record)
    await download(Store(), partial).run()
    assert partial.read_bytes() == CONTENT


async def test_a_partial_of_another_size_begins_anew(partial):
    partial.parent.mkdir()
    partial.write_bytes(CONTENT[:5000])
    (partial.parent / f"{DIGEST}.pieces").write_text("0\n1\n")
    store = Store()
    await download(store, partial).run()
    assert store.sent == len(CONTENT)


@pytest.mark.parametrize("held", [CONTENT[:-1], CONTENT[:3000], b"", bytes(len(CONTENT))])
async def test_a_store_that_holds_something_else(partial, held):
    with pytest.raises(BlobUnavailable, match="other bytes"):
        await download(Store(held), partial).run()
    assert list(partial.parent.iterdir()) == []


async def test_a_store_that_sends_too_much(partial):
    class Generous(Store):
        async def read(self, start, stop):
            yield self.content[start : stop + 1]

    with pytest.raises(BlobUnavailable, match="other bytes"):
        await download(Generous(CONTENT + b"!"), partial).run()


async def test_a_store_that_does_not_have_it(partial):
    class Empty(Store):
        @asynccontextmanager
        async def open(self, digest, _start, _stop):
            raise ObjectMissing(digest)
            yield

    with pytest.raises(BlobUnavailable, match="not in the store"):
        await download(Empty(), partial).run()


async def test_who_stops_waiting_leaves_what_came_for_later(partial):
    store = Store()
    task = asyncio.create_task(download(store, partial).run())
    while store.sent < 5 * PIECE:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    again = Store()
    await download(again, partial).run()
    assert partial.read_bytes() == CONTENT
    assert again.sent < len(CONTENT)


async def test_an_empty_file_needs_no_store(tmp_path):
    empty = hashlib.sha256().hexdigest()
    await Download(Store(), asyncio.Semaphore(1), tmp_path / "partial" / empty, empty, 0).run()
    assert (tmp_path / "partial" / empty).read_bytes() == b""
