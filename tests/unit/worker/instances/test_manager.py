"""What becomes of an instance from its command on, with a boot that does as it is told."""

import asyncio
from types import SimpleNamespace

import pytest

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.events import BootInstance, StopInstance
from tidemill.hosting.child.failures import BootFailed, ChildFailure
from tidemill.testing.tasks import shortly
from tidemill.worker.handlers.commands import CommandHandler
from tidemill.worker.instances import manager as module
from tidemill.worker.instances.manager import InstanceManager
from tidemill.worker.runs.run_table import RunTable


class Child:
    killed = stopped = 0

    def kill(self):
        self.killed += 1

    def stop(self):
        self.stopped += 1


class Engine:
    def on_ready(self, instance):
        instance.state = "ready"


class Booter:
    """Each boot waits for the result that `end` gives it."""

    def __init__(self):
        self.begun = {}

    async def boot(self, managed):
        managed.instance.child, managed.environment = Child(), "digest"
        managed.connection = SimpleNamespace(
            boot_log="printed", crash=None, ended=asyncio.get_running_loop().create_future()
        )
        self.begun[managed.instance.id] = result = asyncio.get_running_loop().create_future()
        await result
        return managed.connection


class World:
    def __init__(self, *, capacity=2, timeout_s=60):
        self.table, self.booter, self.notes = RunTable("w"), Booter(), []
        self.manager = InstanceManager(
            self.table, Engine(), self.booter, self, self, capacity=capacity, timeout_s=timeout_s
        )
        self.commands = CommandHandler(self.table, self.manager)

    async def release_gpus(self, managed):
        self.notes.append(("GPUs", managed.instance.id))

    async def clean_up(self, managed):
        self.notes.append(("cleared", managed.instance.id))

    async def record_boot(self, instance, logs):
        self.notes.append(("booted", instance.id, instance.state, logs))

    async def record_crash(self, instance, ending):
        self.notes.append(("crashed", instance.id, ending.error))

    async def boot(self, name):
        """Sends the command, and waits until the boot is on."""
        reply = await self.commands.on_command(BootInstance(instance=name, queue="q"))
        if reply.accepted:
            await shortly(lambda: name in self.booter.begun)
        return self.table.instances().get(name), reply

    def noted(self, kind):
        return [note for note in self.notes if note[0] == kind]


@pytest.fixture
async def new_world():
    worlds = []

    def new(**settings):
        worlds.append(World(**settings))
        return worlds[-1]

    yield new
    for world in worlds:
        await world.manager.close()


async def test_a_command_that_comes_twice_boots_once(new_world):
    world = new_world(capacity=1)
    instance, _ = await world.boot("a")
    again, reply = await world.boot("a")
    assert again is instance
    assert reply.accepted


async def test_a_full_worker_and_one_that_ends_refuse(new_world):
    world = new_world(capacity=1)
    await world.boot("a")
    _, full = await world.boot("b")
    world.table.is_draining = True
    _, draining = await world.boot("c")
    assert (full.reason, draining.reason) == ("the worker is full", "the worker is draining")


async def test_one_that_failed_takes_no_place_gives_its_gpus_back_and_is_shown(new_world):
    world = new_world(capacity=1)
    failures = module.boot_phases.FAILURES._value.get
    before = failures()
    instance, _ = await world.boot("a")
    world.booter.begun["a"].set_exception(BootFailed("no such file"))
    await shortly(lambda: world.noted("GPUs"))
    assert failures() == before + 1
    assert (instance.state, instance.error, instance.child.killed) == ("failed", "no such file", 1)
    assert world.noted("booted") == [("booted", "a", "failed", "printed")]
    assert "a" in world.table.instances()
    assert not world.noted("cleared")
    _, reply = await world.boot("b")
    assert reply.accepted


async def test_a_failure_is_forgotten_when_it_was_shown(new_world, monkeypatch):
    monkeypatch.setattr(module, "FAILED_SHOWN_S", 0)
    world = new_world()
    await world.boot("a")
    world.booter.begun["a"].set_exception(OSError("disk full"))
    await shortly(lambda: world.noted("cleared"))
    assert not world.table.instances()
    assert not world.manager.environments_in_use()


async def test_a_boot_that_takes_too_long_fails_with_what_it_printed(new_world):
    world = new_world(timeout_s=0.001)
    instance, _ = await world.boot("a")
    await shortly(lambda: instance.state == "failed")
    assert instance.error == "it took longer than 0.001 s\nprinted"


async def test_a_stop_ends_a_boot_and_lets_what_is_ready_finish(new_world):
    world = new_world()
    booting, _ = await world.boot("a")
    ready, _ = await world.boot("b")
    world.booter.begun["b"].set_result(None)
    await shortly(lambda: ready.state == "ready")
    for name in ("a", "b", "unknown"):
        assert (await world.commands.on_command(StopInstance(instance=name))).accepted
    await shortly(lambda: world.noted("cleared"))
    assert world.noted("cleared") == [("cleared", "a")]
    assert booting.child.killed
    assert (ready.state, ready.child.stopped, ready.child.killed) == ("draining", 1, 0)


async def test_the_environment_is_in_use_until_the_process_has_ended(new_world):
    world = new_world()
    instance, _ = await world.boot("a")
    world.booter.begun["a"].set_result(None)
    await shortly(lambda: world.noted("booted"))
    assert world.manager.environments_in_use() == {"digest"}
    connection = world.manager._managed["a"].connection
    connection.crash = ChildFailure("signal 11", ErrorCode.MODEL_CRASHED)
    crashes = module.CRASHES.labels("model_crashed")._value.get
    before = crashes()
    connection.ended.set_result(None)
    await shortly(lambda: world.noted("cleared"))
    assert world.noted("crashed") == [("crashed", "a", "signal 11")]
    assert crashes() == before + 1
    assert world.manager.environments_in_use() == frozenset()
    assert instance.id not in world.table.instances()


async def test_all_end_when_it_closes(new_world):
    world = new_world()
    await world.boot("a")
    await world.boot("b")
    await world.manager.close()
    assert sorted(world.noted("cleared")) == [("cleared", "a"), ("cleared", "b")]


async def test_who_closes_kills_the_process_and_does_not_say_for_it_that_it_has_ended(new_world):
    world = new_world()
    instance, _ = await world.boot("a")
    world.booter.begun["a"].set_result(None)
    await shortly(lambda: world.noted("booted"))
    connection = world.manager._managed["a"].connection
    await world.manager.close()
    assert world.noted("cleared") == [("cleared", "a")]
    assert instance.child.killed
    assert not connection.ended.done()  # clearing waits for this, and the process's own end says it
