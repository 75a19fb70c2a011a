"""The control: without synced commits a killed PostgreSQL loses accepted predictions, so the other tests can fail."""

import asyncio
from pathlib import Path

import pytest
from crowd import MODEL, Crowd

from tidemill.stack import Durability, PostgresServer
from tidemill.testing.running import RunningStack, until

MODELS = Path(__file__).parents[1] / "models"
pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]
ROUNDS = 6  # each loses some with high odds: up to 0.6 s of commits are on their way to the disk at any moment


async def test_asynchronous_commits_lose_accepted_predictions(tmp_path):
    server = PostgresServer(tmp_path / "pg", durability=Durability(synchronous_commit=False))
    await server.start()
    stack = RunningStack(tmp_path / "home", {"TIDEMILL_DATABASE_URL": server.url, "TIDEMILL_REPUBLISH_AFTER_S": "2"})
    try:
        await asyncio.to_thread(stack.up, "--no-catalogue")
        stack.tidemill("push", MODEL, str(MODELS / "chaos_echo"))
        lost = 0
        for seed in range(ROUNDS):
            crowd = Crowd(stack, seed)
            creating = asyncio.create_task(crowd.create(200, longest_s=0.01))
            await until("predictions are accepted", lambda crowd=crowd: len(crowd.accepted) >= 100)
            await server.kill()
            await server.start()
            await creating
            lost = len(crowd.accepted) - len(await crowd.rows())
            if lost:
                break
        assert lost, "nothing was lost without synced commits: the other tests prove nothing"
    finally:
        await asyncio.to_thread(stack.down)
        await server.stop()
        await server.remove()
