"""The programs of docs/examples, as users run them."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
WITHIN_S = 300


class Program:
    def __init__(self, process):
        self._process = process

    async def line(self, beginning):
        """The next line that begins so."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                line = (await self._process.stdout.readline()).decode()
                assert line, (await self._process.stderr.read()).decode()
                if line.startswith(beginning):
                    return line.split()

    async def end(self):
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
        await self._process.communicate()


@pytest.fixture
async def start(events):
    programs = []

    async def run(account, name, *arguments):
        env = {
            **os.environ,
            "REPLICATE_API_TOKEN": account.headers["Authorization"].removeprefix("Bearer "),
            "REPLICATE_BASE_URL": f"{events.gateway.url}/v1",
        }
        pipe = asyncio.subprocess.PIPE
        words = [sys.executable, str(EXAMPLES / name), *arguments]
        programs.append(Program(await asyncio.create_subprocess_exec(*words, env=env, stdout=pipe, stderr=pipe)))
        return programs[-1]

    yield run
    for program in programs:
        await program.end()


async def test_the_subscriber_shows_what_happens(events, start, alice, mallory):
    program = await start(alice, "subscribe.py")
    await program.line("listening")
    await events.announce(mallory)
    identifier = await events.announce(alice)
    assert (await program.line("tidemill.prediction.completed"))[1:] == [identifier, "succeeded", "hello"]


async def test_the_durable_subscriber_misses_nothing(events, start, alice):
    first = await start(alice, "subscribe_durable.py", "mine")
    async with asyncio.timeout(WITHIN_S):
        while not await events.gateway.parts.database.value(
            "SELECT count(*) FROM event_consumer WHERE account_id = $1", alice.id
        ):
            await asyncio.sleep(0.05)
    seen = await events.announce(alice)
    assert (await first.line("tidemill.prediction.completed"))[1] == seen
    await first.end()
    missed = await events.announce(alice)
    second = await start(alice, "subscribe_durable.py", "mine")
    lines = [await second.line("tidemill.")]
    if lines[0][1] == seen:  # the first was stopped before its acknowledgement was on its way
        lines.append(await second.line("tidemill."))
    assert lines[-1][1] == missed
