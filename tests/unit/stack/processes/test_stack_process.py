import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tidemill.stack.processes import process as process_module
from tidemill.stack.processes.process import Launch, ManagedProcess


@pytest.fixture
def sleeper(tmp_path):
    async def ready():
        return None

    async def start():
        process = ManagedProcess(tmp_path / "process.json")
        launch = Launch(
            name="sleeper",
            argv=[sys.executable, "-c", "import time; time.sleep(600)"],
            env={},
            log=tmp_path / "log",
        )
        await process.start(launch, ready, 60)
        return process

    return start


@pytest.mark.parametrize("kernel_tells", [True, False])
async def test_the_end_of_a_process_is_noticed(sleeper, monkeypatch, kernel_tells):
    if not kernel_tells:
        monkeypatch.delattr(process_module.os, "pidfd_open")
    process = await sleeper()
    ended = asyncio.create_task(process.ended())
    await asyncio.sleep(0)
    assert not ended.done()
    os.kill(process.pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        await ended
    assert not process.alive
    await process.ended()  # at once
    await process.kill()


async def test_waiting_for_an_end_leaves_nothing_open_when_it_is_canceled(sleeper):
    process = await sleeper()
    try:
        before = len(list(Path("/proc/self/fd").iterdir()))
        waiting = asyncio.create_task(process.ended())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    finally:
        await process.kill()
