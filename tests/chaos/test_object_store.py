"""kill -9 of the object store amid predictions that take and make files: it is back in seconds, and none fails."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest
from crowd import MODEL, Crowd

from tidemill.testing.running import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]
FILES = "local/chaos-file"
MODELS = Path(__file__).parents[1] / "models"
COUNT, PER_SECOND, WITH_FILES = 200, 40, 5  # every fifth makes a file


@pytest.fixture(scope="module")
def files(stack):
    stack.tidemill("push", FILES, str(MODELS / "chaos_file"))
    return stack


async def upload(session: aiohttp.ClientSession, content: bytes) -> str:
    form = aiohttp.FormData()
    form.add_field("content", content, filename="given.bin")
    async with session.post("/v1/files", data=form) as response:
        assert response.status == 201, await response.text()
        return (await response.json())["urls"]["get"]


async def test_the_object_store_is_killed_and_no_file_is_lost(files):
    """Uploads before, while it is away and after; half of the files are given by URL and fetched from the store too."""
    stack, crowd, contents = files, Crowd(files), {}
    killed: list[int] = []

    async def one(session, number):
        content = f"file {number} ".encode() * 500
        with_file = number % WITH_FILES == 0
        body = {"version": MODEL, "input": {"text": str(number)}}
        if with_file:
            body = {"version": FILES, "input": {"given": await upload(session, content)}}
        async with session.post("/v1/predictions", json=body) as response:
            assert response.status == 201, await response.text()
            made = (await response.json())["id"]
        crowd.accepted[made] = str(number)
        if with_file:
            contents[made] = content

    async with stack.session() as session:
        async with asyncio.TaskGroup() as group:
            for number in range(COUNT):
                group.create_task(one(session, number), name=f"prediction {number}")
                if number == COUNT // 4:
                    killed.append(stack.signal("object store"))
                await asyncio.sleep(1 / PER_SECOND)
        rows = await crowd.settle(within_s=180)
        await until("the object store runs again", lambda: stack.pid_or_none("object store") not in {None, *killed})
        assert [(row["status"], row["error"]) for row in rows if row["status"] != "succeeded"] == []
        assert len(contents) == COUNT // WITH_FILES
        for row in rows:
            if row["id"] in contents:
                async with session.get(json.loads(row["output"])) as response:
                    assert response.status == 200
                    assert await response.read() == contents[row["id"]], row["id"]
