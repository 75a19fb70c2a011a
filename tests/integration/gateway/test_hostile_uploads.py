"""Uploads that mean harm, sent to a gateway that is a process of its own, so that its memory can be measured."""

import asyncio
import io

import aiohttp
import msgspec
import pytest

from tidemill.contracts.limits import MIB
from tidemill.testing.gateways import gateways
from tidemill.testing.hostile_uploads import hostile_uploads, send

GROWTH_LIMIT_BYTES = 64 * MIB
PARALLEL = 6
SIZE_BYTES = 20 * MIB

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
async def served(tmp_path_factory):
    async with gateways(tmp_path_factory.mktemp("hostile")) as running:
        yield running


async def upload(http, served, size_bytes):
    data = aiohttp.FormData()
    data.add_field("content", io.BytesIO(bytes(size_bytes)), filename="zeros.bin")
    async with http.post(f"{served.urls[0]}/v1/files", data=data, headers=served.headers) as response:
        assert response.status == 201, await response.text()
        return await response.json()


@pytest.mark.parametrize("hostile", hostile_uploads(), ids=lambda each: each.name.replace(" ", "-"))
async def test_each_is_answered_and_none_is_a_surprise(served, hostile):
    answer = await send(served.urls[0], served.headers, hostile)
    if not hostile.hangs_up:
        assert answer.status in hostile.statuses, answer.body
    if answer.status == 201:
        name = msgspec.json.decode(answer.body)["name"]
        assert name.isprintable()
        assert "/" not in name
        assert 0 < len(name.encode()) <= 255


async def test_all_of_them_at_once_and_honest_large_ones_take_little_memory(served):
    async with aiohttp.ClientSession() as http:
        await upload(http, served, MIB)
        before, peak = served.memory_bytes(), 0
        done = asyncio.Event()

        async def watch():
            nonlocal peak
            while not done.is_set():
                peak = max(peak, served.memory_bytes())
                await asyncio.sleep(0.02)

        watching = asyncio.create_task(watch())
        honest = [upload(http, served, SIZE_BYTES) for _ in range(PARALLEL)]
        hostile = [send(served.urls[0], served.headers, each) for each in hostile_uploads()]
        await asyncio.gather(*honest, *hostile)
        done.set()
        await watching
    assert peak - before < GROWTH_LIMIT_BYTES


async def test_nothing_of_them_was_unexpected(served):
    assert "unexpected" not in served.logs[0].read_text()
