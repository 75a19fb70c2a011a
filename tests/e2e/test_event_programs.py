"""Events on NATS against a running stack: the programs of docs/examples hear real predictions."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
WITHIN_S = 300


@pytest.fixture
async def listening(stack):
    """Starts an example; a function that reads its next line that begins with some text."""
    processes = []

    async def start(name, *arguments):
        pipe = asyncio.subprocess.PIPE
        words = [sys.executable, str(EXAMPLES / name), *arguments]
        process = await asyncio.create_subprocess_exec(
            *words, env={**os.environ, **stack.env}, stdout=pipe, stderr=pipe
        )
        processes.append(process)

        async def line(beginning):
            async with asyncio.timeout(WITHIN_S):
                while text := (await process.stdout.readline()).decode():
                    if text.startswith(beginning):
                        return text.split()
            raise AssertionError((await process.stderr.read()).decode())

        return line

    yield start
    for process in processes:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.communicate()


async def run(stack, model, **inputs):
    async with stack.session() as session:
        body, path = {"input": inputs}, f"/v1/models/local/{model}/predictions"
        async with session.post(path, json=body, headers={"Prefer": "wait=60"}) as response:
            assert response.status == 201, await response.text()
            return await response.json()


async def test_a_subscriber_hears_a_prediction_end(stack, listening):
    line = await listening("subscribe.py")
    await line("listening")
    prediction = await run(stack, "e2e_text", text="hi")
    while (heard := await line("tidemill.prediction.completed"))[1] != prediction["id"]:
        pass
    assert heard[2] == "succeeded"


async def test_what_runs_for_a_while_is_announced_when_it_starts(stack):
    async with stack.session() as session, session.get("/v1/account") as response:
        access = (await response.json())["events"]
    client = await nats.connect(access["url"], token=stack.token)
    heard = asyncio.Queue()
    await client.subscribe(access["subjects"][0], cb=heard.put)
    await client.flush()
    prediction = await run(stack, "e2e_sleep", seconds=0.2)
    moves = []
    async with asyncio.timeout(WITHIN_S):
        while len(moves) < 2:
            message = await heard.get()
            event = json.loads(message.data)
            if event["id"] == prediction["id"]:
                moves.append((message.headers["ce-type"], event["status"], event["model"], event["version"]))
    known = (prediction["model"], prediction["version"])
    assert moves == [
        ("tidemill.prediction.started", "processing", *known),
        ("tidemill.prediction.completed", "succeeded", *known),
    ]
    await client.close()


async def test_a_durable_consumer_hears_what_happened_before_it_connected(stack, listening):
    async with stack.session() as session, session.post("/v1/event-consumers", json={"name": "e2e"}) as response:
        assert response.status in {201, 409}
    prediction = await run(stack, "e2e_text", text="hi")
    line = await listening("subscribe_durable.py", "e2e")
    while (await line("tidemill.prediction.completed"))[1] != prediction["id"]:
        pass


async def test_nobody_comes_in_without_a_token(stack):
    for credentials in ({}, {"token": "x"}, {"user": "tidemill", "password": stack.token + "x"}):
        client = Client()
        with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
            await client.connect(stack.env["TIDEMILL_NATS_PUBLIC_URL"], allow_reconnect=False, **credentials)
        client._transport.close()  # nats-py leaves it open where it was refused
        with contextlib.suppress(OSError):  # the server has hung up, perhaps before it read everything
            await client._transport.wait_closed()
