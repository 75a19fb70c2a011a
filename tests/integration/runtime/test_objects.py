"""The object store's client against the real store, and against one that fails on the way."""

import asyncio
import contextlib
import hashlib
import io
import os
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import ClientSession, web

from tidemill.contracts.limits import MIB
from tidemill.runtime.config import ObjectStoreConfig
from tidemill.runtime.objects import multipart, retries
from tidemill.runtime.objects.retries import RetryBudget
from tidemill.runtime.objects.store import Minio, ObjectMissing, Objects, ObjectStoreError
from tidemill.stack import ObjectServer
from tidemill.testing.servers import configured, started

PART = 5 * MIB  # the least that S3 takes for any part but the last


def config(server, url=None):
    return configured(ObjectStoreConfig, objects=server, s3_url=url or server.url)


@pytest.fixture(scope="module")
async def server(tmp_path_factory):
    async with started(ObjectServer(tmp_path_factory.mktemp("objects"))) as server:
        yield server


class Proxy:
    """Stands before the store and answers `status` where `fails` says so. It passes the host on, which is signed."""

    def __init__(self, server):
        self.server, self.fails, self.seen, self.status = server, lambda _request: False, [], 503
        self.breaks = 0  # so many bodies are cut off on the way

    async def answer(self, request):
        self.seen.append((request.method, dict(request.query)))
        if self.breaks and request.method == "PUT":
            self.breaks -= 1
            await request.content.readany()
            request.transport.abort()
        if self.fails(request):
            return web.Response(status=self.status)
        url = f"{self.server.url}{request.raw_path}"
        async with ClientSession(auto_decompress=False) as http:
            headers = {k: v for k, v in request.headers.items() if k not in {"Content-Length", "Transfer-Encoding"}}
            body = io.BytesIO(await request.read())
            async with http.request(request.method, url, data=body, headers=headers) as response:
                kept = {k: v for k, v in response.headers.items() if k.lower() in {"etag", "content-type"}}
                return web.Response(status=response.status, body=await response.read(), headers=kept)


@pytest.fixture
async def proxy(server):
    proxy = Proxy(server)
    app = web.Application(client_max_size=100 * MIB)
    app.router.add_route("*", "/{path:.*}", proxy.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield proxy
    await runner.cleanup()


@pytest.fixture
async def store(server, monkeypatch):
    monkeypatch.setattr(multipart, "PART_BYTES", PART)
    async with Objects(config(server)) as store:
        yield store


@pytest.fixture
async def flaky(server, proxy, monkeypatch):
    monkeypatch.setattr(multipart, "PART_BYTES", PART)
    monkeypatch.setattr(retries, "backoffs", lambda: iter([0.0] * 3))
    async with Objects(config(server, proxy.url)) as store:
        proxy.seen.clear()
        yield store


class Memory:
    """A source whose reads are counted."""

    def __init__(self, content):
        self.content, self.reads = content, []

    async def chunks(self, offset, size):
        self.reads.append(offset)
        for start in range(offset, offset + size, MIB):
            yield self.content[start : min(start + MIB, offset + size)]


async def digest(store, key):
    sha256 = hashlib.sha256()
    async with store.get(key) as response:
        async for chunk in response.content.iter_chunked(MIB):
            sha256.update(chunk)
        return sha256.hexdigest(), response.headers["Content-Type"]


@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, 3 * PART, 3 * PART + 12345])
async def test_what_is_stored_is_read_again(store, size):
    content = os.urandom(size)
    await store.store("blobs/a", Memory(content), size, "application/x-a")
    assert await digest(store, "blobs/a") == (hashlib.sha256(content).hexdigest(), "application/x-a")


async def test_a_part_that_fails_is_sent_again_by_itself(flaky, proxy):
    content = os.urandom(3 * PART + 1)
    failures = [True]
    proxy.fails = lambda request: request.query.get("partNumber") == "2" and bool(failures) and failures.pop()
    source = Memory(content)
    await flaky.store("blobs/b", source, len(content), "application/x-b")
    assert sorted(source.reads) == [0, PART, PART, 2 * PART, 3 * PART]
    assert (await digest(flaky, "blobs/b"))[0] == hashlib.sha256(content).hexdigest()


async def test_a_part_that_fails_for_good_leaves_nothing(flaky, proxy):
    content = os.urandom(2 * PART)
    proxy.fails = lambda request: request.query.get("partNumber") == "2"
    with pytest.raises(ObjectStoreError, match="status 503"):
        await flaky.store("blobs/c", Memory(content), len(content), "application/x-c")
    with pytest.raises(ObjectMissing):
        await digest(flaky, "blobs/c")
    assert await flaky.abandon_parts(datetime.now(UTC) + timedelta(days=1)) == 0
    assert "DELETE" in [method for method, _ in proxy.seen]


async def test_a_sender_that_is_ended_leaves_nothing(store):
    reading = asyncio.Event()

    class Endless(Memory):
        async def chunks(self, offset, size):
            yield b"x"
            reading.set()
            await asyncio.Event().wait()

    sending = asyncio.create_task(store.store("blobs/d", Endless(b""), 2 * PART, "application/x-d"))
    await reading.wait()
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sending
    assert await store.abandon_parts(datetime.now(UTC) + timedelta(days=1)) == 0


async def test_parts_of_a_sender_that_died_are_removed_when_they_are_old(flaky, proxy):
    proxy.fails = lambda request: "partNumber" in request.query or request.method == "DELETE"
    with pytest.raises(ObjectStoreError):
        await flaky.store("blobs/e", Memory(os.urandom(2 * PART)), 2 * PART, "application/x-e")
    proxy.fails = lambda _request: False
    assert await flaky.abandon_parts(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert await flaky.abandon_parts(datetime.now(UTC) + timedelta(hours=1)) == 1
    assert await flaky.abandon_parts(datetime.now(UTC) + timedelta(hours=1)) == 0


async def test_a_source_that_fails_is_an_error_of_the_store(store):
    class Broken(Memory):
        async def chunks(self, offset, size):
            yield b"half"
            raise OSError("gone")

    source = Broken(b"")
    with pytest.raises(ObjectStoreError) as failed:
        await store.store("blobs/f", source, 100, "application/x-f")
    assert not failed.value.passing  # no other try mends it
    with pytest.raises(ObjectMissing):
        await digest(store, "blobs/f")


async def test_a_connection_that_breaks_while_the_source_is_read_is_no_failure_of_the_source(flaky, proxy):
    class Slow(Memory):
        async def chunks(self, offset, size):
            for start in range(offset, offset + size, MIB):
                await asyncio.sleep(0.05)  # as a file is read, in a thread
                yield self.content[start : start + MIB]

    content = os.urandom(4 * MIB)
    proxy.breaks = 2
    await flaky.store("blobs/i", Slow(content), len(content), "application/x-i")
    assert proxy.breaks == 0
    assert (await digest(flaky, "blobs/i"))[0] == hashlib.sha256(content).hexdigest()


async def test_a_store_that_refuses_is_asked_once(flaky, proxy, server):
    wrong = {"access_key": server.access_key, "secret_key": "wrong", "secure": False, "region": "us-east-1"}
    flaky._requests._minio = Minio(proxy.url.removeprefix("http://"), **wrong)
    with pytest.raises(ObjectStoreError, match="status 403"):
        await flaky.store("blobs/g", Memory(b"bytes"), 5, "application/x-g")
    assert len(proxy.seen) == 1


async def test_a_store_that_restarts_loses_nothing_of_what_was_to_be_stored(tmp_path, monkeypatch):
    """Small ones, large ones in parts, copies and reads begun while it is away, or that it broke off."""
    monkeypatch.setattr(multipart, "PART_BYTES", PART)
    content = os.urandom(3 * PART + 1)
    async with started(ObjectServer(tmp_path / "objects")) as server, Objects(config(server)) as store:
        await store.put("blobs/old", b"old", "text/plain")
        ended = []

        async def work(number):
            if number % 4 == 0:
                await store.store(f"blobs/{number}", Memory(content), len(content), "application/x-a")
            elif number % 4 == 1:
                await store.copy("blobs/old", f"blobs/{number}")
            elif number % 4 == 2:
                async with store.get("blobs/old", budget=RetryBudget()) as response:
                    assert await response.read() == b"old"
            else:
                await store.put(f"blobs/{number}", b"new", "text/plain")
            ended.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(24):
                group.create_task(work(number), name=f"work {number}")
                if number == 8:
                    await server.kill()
                await asyncio.sleep(0.05)
            await server.start()
        assert sorted(ended) == list(range(24))
        for number in range(24):
            kind = number % 4
            expected = (content, b"old", b"", b"new")[kind]
            if kind != 2:
                assert (await digest(store, f"blobs/{number}"))[0] == hashlib.sha256(expected).hexdigest()


@pytest.mark.parametrize(
    ("status", "passing"),
    [
        (400, False),
        (403, False),
        (404, False),
        (409, False),
        (408, True),
        (429, True),
        (500, True),
        (503, True),
        (504, True),
    ],
)
async def test_only_what_another_try_may_mend_is_tried_again(flaky, proxy, status, passing):
    proxy.fails, proxy.status = lambda _request: True, status
    with pytest.raises(ObjectStoreError, match=f"status {status}") as failed:
        await flaky.put("blobs/h", b"bytes", "text/plain")
    assert failed.value.passing is passing
    assert len(proxy.seen) == (4 if passing else 1)
    proxy.seen.clear()
    with pytest.raises((ObjectStoreError, ObjectMissing)):
        async with flaky.get("blobs/h", budget=RetryBudget()):
            pass
    assert len(proxy.seen) == (4 if passing else 1)
