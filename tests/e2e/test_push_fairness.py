"""Pushes of several accounts: an import that never ends holds up nobody else, and its author hears why."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOSTILE = "while 1: pass\n"
GOOD = """from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, text: str) -> str:
        return text
"""
ACCOUNTS = 4
WITHIN_S = 300


@pytest.fixture
def pushing(stack, new_token, tmp_path):
    """Starts `tidemill push` of a model of an account that is made for it, and tells the model's name."""
    started = []

    def start(account, source):
        directory = tmp_path / account
        directory.mkdir()
        (directory / "cog.yaml").write_text('predict: "predict.py:Predictor"\n')
        (directory / "predict.py").write_text(source)
        program = Path(sys.executable).with_name("tidemill")
        env = {**os.environ, **stack.env, "REPLICATE_API_TOKEN": new_token(account), "PYTHONUNBUFFERED": "1"}
        words = [str(program), "push", f"{account}/model", str(directory)]
        process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


async def line_of(process, wanted):
    """Reads what a command prints until a line has these words."""
    while line := await asyncio.to_thread(process.stdout.readline):
        if wanted in line:
            return line
    raise AssertionError(f"it ended with {process.wait()} and never said: {wanted}")


async def test_an_import_that_never_ends_holds_up_nobody_elses_push(pushing):
    async with asyncio.timeout(WITHIN_S):
        hostile = pushing("hostile", HOSTILE)
        await line_of(hostile, "Importing predict.py")
        others = [pushing(f"author-{number}", GOOD) for number in range(ACCOUNTS)]
        await asyncio.gather(*(line_of(each, "Version ") for each in others))
        assert hostile.poll() is None
        assert "the import took longer than" in await line_of(hostile, "the push failed")
        assert await asyncio.to_thread(hostile.wait) == 1
