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
from tidemill.runtime import multipart, objects
from tidemill.runtime.config import ObjectStore
from tidemill.runtime.objects import Objects, ObjectStoreError
from tidemill.stack import ObjectServer
from tidemill.testing.servers import configured, started

PART = 5 * MIB  # the least that S3 takes for any part but the last


def config(server, url=None):
    return configured(ObjectStore, objects=server, s3_url=url or server.url)


@pytest.fixture(scope="module")
async def server(tmp_path_factory):
    async with started(ObjectServer(tmp_path_factory.mktemp("objects"))) as server:
        yield server


class Proxy:
    """Stands before the store and answers 503 where `fails` says so. It passes the host on, which is signed."""

    def __init__(self, server):
        self.server, self.fails, self.seen = server, lambda _request: False, []

    async def answer(self, request):
        self.seen.append((request.method, dict(request.query)))
        if self.fails(request):
            return web.Response(status=503)
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
    monkeypatch.setattr(objects, "backoffs", lambda: iter([0.0] * 10))
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
    with pytest.raises(objects.ObjectMissing):
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

    with pytest.raises(ObjectStoreError):
        await store.store("blobs/f", Broken(b""), 100, "application/x-f")
    with pytest.raises(objects.ObjectMissing):
        await digest(store, "blobs/f")


async def test_a_store_that_refuses_is_asked_once(flaky, proxy, server):
    wrong = {"access_key": server.access_key, "secret_key": "wrong", "secure": False, "region": "us-east-1"}
    flaky._minio = objects.Minio(proxy.url.removeprefix("http://"), **wrong)
    with pytest.raises(ObjectStoreError, match="status 403"):
        await flaky.store("blobs/g", Memory(b"bytes"), 5, "application/x-g")
    assert len(proxy.seen) == 1
