"""kill -9 of one part with 200 predictions in flight: each accepted one ends once, none is lost, none is mixed up."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from crowd import Crowd, Witness

from tidemill.testing.running import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]
LEASE_S = 3  # as conftest.py sets it
PARTS = ["gateway", "scheduler", "worker", "NATS", "PostgreSQL"]


async def in_flight(crowd: Crowd, count: int = 60) -> None:
    await until("predictions are in flight", lambda: len(crowd.accepted) >= count)


@pytest.mark.parametrize("part", PARTS)
async def test_a_part_is_killed(stack, part):
    crowd = Crowd(stack, seed=PARTS.index(part))
    async with Witness(stack) as witness:
        creating = asyncio.create_task(crowd.create(200))
        await in_flight(crowd)
        old = stack.signal(part)
        await creating
        rows = await crowd.settle()
        await until(f"{part} runs again", lambda: stack.pid_or_none(part) not in {None, old})
    crowd.check(rows)
    witness.check()


def children_of(pid: int) -> list[psutil.Process]:
    """Model children: the processes that zygotes have forked."""
    processes = psutil.Process(pid).children()
    zygotes = [one for one in processes if "tidemill.model.process.zygote" in " ".join(one.cmdline())]
    return [child for zygote in zygotes for child in zygote.children()]


async def test_a_model_child_is_killed(stack):
    crowd = Crowd(stack, seed=6)
    async with Witness(stack) as witness:
        creating = asyncio.create_task(crowd.create(200))
        await in_flight(crowd)
        for child in children_of(stack.pid("worker")):
            child.kill()
        await creating
        rows = await crowd.settle()
    crowd.check(rows)
    witness.check()


async def test_a_worker_sleeps_until_its_lease_has_gone(stack):
    """What it still sends when it wakes changes nothing."""
    crowd = Crowd(stack, seed=7)
    other = second_worker(stack)
    try:
        async with Witness(stack) as witness:
            creating = asyncio.create_task(crowd.create(200))
            await in_flight(crowd)
            pid = stack.signal("worker", signal.SIGSTOP)
            try:
                await creating
                rows = await crowd.settle()
            finally:
                os.kill(pid, signal.SIGCONT)
            crowd.check(rows)
            await until(
                "the sleeper has noticed and started afresh", lambda: stack.pid_or_none("worker") not in {None, pid}
            )
            assert await crowd.rows() == rows
        witness.check()
    finally:
        end(other)


async def test_a_database_that_hangs_for_longer_than_a_lease_costs_no_worker(stack):
    """It was away for all: nobody has given away what the worker runs, which goes on with it."""
    crowd = Crowd(stack, seed=9)
    async with Witness(stack) as witness:
        creating = asyncio.create_task(crowd.create(200))
        await in_flight(crowd)
        worker, server = stack.pid("worker"), psutil.Process(stack.pid("PostgreSQL"))
        server.suspend()  # first, so that it starts no more
        hanging = server.children()
        for process in hanging:
            process.suspend()
        await asyncio.sleep(LEASE_S + 2)  # the lease ends by a clock that nobody can ask
        for process in (*hanging, server):
            process.resume()
        await creating
        rows = await crowd.settle()
    crowd.check(rows)
    witness.check()
    assert {row["attempt"] for row in rows} == {1}
    assert stack.pid("worker") == worker


async def test_two_workers_compete(stack):
    crowd = Crowd(stack, seed=8)
    other = second_worker(stack)
    try:
        async with Witness(stack) as witness:
            await crowd.create(300)
            rows = await crowd.settle()
        crowd.check(rows)
        witness.check()
        assert {row["attempt"] for row in rows} == {1}
    finally:
        end(other)


def second_worker(stack) -> subprocess.Popen:
    home = stack.home / "worker-2"
    env = {**os.environ, **stack.env, "TIDEMILL_WORKER_HOME": str(home), "TIDEMILL_LEASE_S": "3"}
    env["TIDEMILL_PUBLIC_URLS"] = stack.base_url
    program = str(Path(sys.executable).with_name("tidemill-worker"))
    with (stack.home / "log" / "worker-2.log").open("ab") as log:
        return subprocess.Popen([program], env=env, stdout=log, stderr=log)


def end(worker: subprocess.Popen) -> None:
    worker.terminate()
    try:
        worker.wait(40)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
