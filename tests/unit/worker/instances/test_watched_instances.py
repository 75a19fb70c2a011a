"""What is done to instances that use too much or are not well; the kernel's figures are made up."""

import asyncio
import sys
from collections import deque
from types import SimpleNamespace

import pytest

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.limits import GIB
from tidemill.hosting.child.failures import ChildFailure
from tidemill.model.host.child_events import ChildExit
from tidemill.worker.instances import monitor as monitor_module
from tidemill.worker.instances import usage
from tidemill.worker.instances.child_connection import ChildConnection
from tidemill.worker.instances.monitor import InstanceMonitor, MonitoredInstance
from tidemill.worker.runs.instance import Instance


class Engine:
    def __init__(self):
        self.exits, self.frames = [], []

    def on_exit(self, instance, ending):
        self.exits.append((instance.id, ending))

    def on_frames(self, _instance, bodies):
        self.frames += bodies

    def on_output_bytes(self, _instance, _data):
        pass


class Child:
    def __init__(self):
        self.sent, self.killed, self.stopped = [], 0, 0

    def send(self, body):
        self.sent.append(body)

    def kill(self):
        self.killed += 1

    def stop(self):
        self.stopped += 1


@pytest.fixture
async def world(tmp_path, monkeypatch):
    for name in ("MEMORY_EVERY_S", "DISK_EVERY_S", "STOPPED_EVERY_S"):
        monkeypatch.setattr(monitor_module, name, 0.001)
    engine, instance = Engine(), Instance("i", "q", 0)
    instance.child, instance.state = Child(), "ready"
    connection = ChildConnection(engine, instance, lambda: 0)
    connection.on_frames([b'{"t":"ready","healthcheck":true}'], deque())
    watcher = InstanceMonitor(disk_limit_bytes=GIB, health_every_s=0.001)
    watcher.watch(MonitoredInstance(instance, connection, 1, tmp_path, 2 * GIB))
    return SimpleNamespace(
        engine=engine, instance=instance, child=instance.child, connection=connection, watcher=watcher
    )


async def until(task, check):
    running = asyncio.create_task(task)
    try:
        async with asyncio.timeout(120):
            while not check():
                await asyncio.sleep(0.001)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_process_that_stops_itself_is_ended_so_that_the_next_need_not_wait(world, tmp_path):
    stop = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", stop)
    try:
        world.watcher.watch(MonitoredInstance(world.instance, world.connection, process.pid, tmp_path, None))
        await until(world.watcher.watch_stopped(), lambda: world.child.killed)
    finally:
        process.kill()
        await process.wait()
    world.connection.on_exit(ChildExit(None, 9))
    ((_, ending),) = world.engine.exits
    assert ending == ChildFailure(monitor_module.STOPPED, ErrorCode.MODEL_CRASHED)
    assert world.connection.crash == ending


async def test_a_process_that_runs_or_goes_on_is_not_ended(world, monkeypatch):
    looks = iter([True, False, True, False, False])
    seen = []
    monkeypatch.setattr(monitor_module.process_state, "is_stopped", lambda pid: seen.append(pid) or next(looks, False))
    await until(world.watcher.watch_stopped(), lambda: len(seen) > 6)
    assert not world.child.killed


async def test_too_much_memory_ends_it_and_says_how_much(world, monkeypatch):
    monkeypatch.setattr(usage, "memory_bytes", lambda _pid, _limit: 3 * GIB)
    await until(world.watcher.watch_memory(), lambda: world.child.killed)
    world.connection.on_exit(ChildExit(None, 9))
    ((_, ending),) = world.engine.exits
    error = "The model used 3 GiB of memory; its hardware gives it 2 GiB."
    assert ending == ChildFailure(error, ErrorCode.OUT_OF_MEMORY, final=True)
    assert world.connection.crash == ending


async def test_what_fits_lives_on(world, monkeypatch):
    looks = []
    monkeypatch.setattr(usage, "memory_bytes", lambda _pid, limit: looks.append(limit) or limit)
    await until(world.watcher.watch_memory(), lambda: len(looks) > 3)
    assert not world.child.killed


async def test_too_much_disk_ends_it(world, monkeypatch):
    monkeypatch.setattr(usage, "disk_bytes", lambda _folder, limit: limit + 1)
    await until(world.watcher.watch_disk(), lambda: world.child.killed)
    world.connection.on_exit(ChildExit(None, 9))
    assert world.engine.exits[0][1].error == "The model wrote more than 1 GiB to its disk."


async def test_a_kill_of_the_kernels_is_told_from_ours(world):
    connection = ChildConnection(world.engine, world.instance, lambda: 1)
    connection.on_frames([b'{"t":"ready"}'], deque())
    connection.on_exit(ChildExit(None, 9))
    assert world.engine.exits[0][1].code is ErrorCode.OUT_OF_MEMORY
    assert connection.crash is not None


@pytest.mark.parametrize(
    ("ended", "crashed"),
    [(ChildExit(0, None), False), (ChildExit(None, 9), False), (ChildExit(None, 11), True), (ChildExit(1, None), True)],
)
async def test_what_we_end_is_no_crash(world, ended, crashed):
    world.connection.on_exit(ended)
    assert (world.connection.crash is not None) is crashed


async def test_one_that_is_well_is_asked_again_and_again(world):
    def answered():
        if world.connection._health is not None:
            world.connection.on_frames([b'{"t":"health","error":null}'], deque())
        return len(world.child.sent) > 3

    await until(world.watcher.watch_health(), answered)
    assert world.instance.state == "ready"
    assert not world.engine.frames


async def test_one_that_is_not_well_takes_nothing_more_and_is_ended(world, monkeypatch):
    monkeypatch.setattr(monitor_module, "FINISH_WITHIN_S", 0.01)

    def answered():
        if world.connection._health is not None:
            world.connection.on_frames([b'{"t":"health","error":"no"}'], deque())
        return world.child.killed

    await until(world.watcher.watch_health(), answered)
    assert world.instance.state == "draining"
    assert world.child.stopped == 1
    world.connection.on_exit(ChildExit(None, 9))
    assert world.engine.exits[0][1].error == "The model was not well: no."


async def test_one_that_does_not_answer_is_ended(world, monkeypatch):
    monkeypatch.setattr(monitor_module, "HEALTH_WITHIN_S", 0.01)
    await until(world.watcher.watch_health(), lambda: world.child.killed)
    world.connection.on_exit(ChildExit(None, 9))
    assert "healthcheck() took longer" in world.engine.exits[0][1].error


async def test_one_that_is_busy_is_not_asked(world):
    world.instance.runs["a"] = object()
    looks = 0

    def looked():
        nonlocal looks
        looks += 1
        return looks > 20

    await until(world.watcher.watch_health(), looked)
    assert not world.child.sent


async def test_an_answer_that_nobody_asked_for_breaks_the_rules(world):
    world.connection.on_frames([b'{"t":"health","error":null}'], deque())
    assert world.engine.frames  # which refuses what is no frame of a run


async def test_a_check_ends_with_its_child(world):
    asked = asyncio.create_task(world.connection.check())
    await asyncio.sleep(0)
    world.connection.on_exit(ChildExit(None, 11))
    assert await asked is None


async def test_a_long_set_up_keeps_the_end_of_its_log_and_says_what_is_missing(world):
    connection = ChildConnection(world.engine, world.instance, lambda: 0)
    connection.on_log_bytes(b"x" * 60_000)
    assert connection.boot_log == "x" * 60_000
    connection.on_log_bytes(b"y" * 10_000)
    assert connection.boot_log == "[the first 4464 characters were dropped]\n" + "x" * 55_536 + "y" * 10_000


async def test_what_has_gone_is_not_ended_again(world):
    world.watcher.forget("i")
    world.watcher._kill(
        MonitoredInstance(world.instance, world.connection, 1, None, 1), ChildFailure("", ErrorCode.MODEL_CRASHED)
    )
    assert not world.child.killed
