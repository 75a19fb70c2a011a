"""Runs of a child that takes several in one call, and says which."""

import asyncio
import json

import pytest

from tidemill.contracts.limits import ATTEMPTS
from tidemill.contracts.prediction import Status
from tidemill.runtime.billing import Tariff
from tidemill.runtime.clock import now
from tidemill.testing.tasks import shortly
from tidemill.worker.runs.run import StopReason

SIZE = 4


@pytest.fixture
def world(new_world):
    world = new_world(concurrency=SIZE)
    world.instance.batched = True
    return world


def jobs(world, names, **more):
    for name in names:
        world.job(name, **more)


def call(world, names):
    world.say(t="running", ids=list(names))


async def test_the_next_calls_runs_are_sent_ahead(world):
    jobs(world, "abcdefghij")
    assert world.instance.child.sent == list("abcdefgh")
    call(world, "abcd")
    world.done("a", batch=4)
    assert world.instance.child.sent == list("abcdefghi")


async def test_those_of_the_call_are_claimed_and_those_of_the_next_are_neither_claimed_nor_asked_back(world):
    jobs(world, "abcdef")
    call(world, "bcf")
    await shortly(lambda: len(world.writer.claimed) >= 3)
    await asyncio.sleep(0.15)  # longer than what is sent ahead to another child may wait
    assert sorted(world.writer.claimed) == ["b", "c", "f"]
    assert world.instance.child.canceled == []


async def test_a_crash_costs_the_call_an_attempt_and_the_others_nothing(world):
    jobs(world, "abcdef")
    call(world, "bcf")
    world.crash()
    await shortly(lambda: len(world.writer.retried) == 3)
    assert sorted(world.writer.retried) == ["b", "c", "f"]
    assert world.ended == {}
    fresh = world.add(len("abcdef"))
    await shortly(lambda: len(fresh.child.sent) == len("abcdef"))
    assert sorted(fresh.child.sent) == list("abcdef")


async def test_a_crash_before_any_call_costs_those_that_came_first(world):
    jobs(world, "abcdef")
    world.crash()
    await shortly(lambda: len(world.writer.retried) == SIZE)
    assert sorted(world.writer.retried) == list("abcd")


async def test_a_second_attempt_shares_no_call(world):
    bodies = []
    world.instance.child.send = bodies.append
    world.job("a")
    world.job("b", attempt=2)
    assert [json.loads(body).get("alone", False) for body in bodies] == [False, True]


async def test_the_last_attempt_lost_fails_those_of_the_call_alone(world):
    jobs(world, "ab", attempt=ATTEMPTS)
    jobs(world, "cd")
    call(world, "a")
    world.crash()
    assert {name: outcome.status for name, outcome in world.ended.items()} == {"a": Status.FAILED}


@pytest.fixture
async def watching(world):
    task = asyncio.create_task(world.watchdog.watch())
    yield
    task.cancel()


async def test_a_child_that_does_not_stop_is_not_killed_while_others_want_its_call(world, watching):
    jobs(world, "abc")
    call(world, "ab")
    world.ends.stop(world.table.runs["a"], StopReason(Status.CANCELED))
    await shortly(lambda: "a" in world.ended)
    assert world.ended["a"].status is Status.CANCELED
    assert not world.instance.child.killed
    world.done("a", batch=2)
    world.done("b", batch=2)
    assert [outcome.id for outcome in world.writer.ended] == ["a", "b"]


async def test_it_is_killed_when_nobody_wants_its_call(world, watching):
    jobs(world, "abc")
    call(world, "ab")
    for name in "ab":
        world.ends.stop(world.table.runs[name], StopReason(Status.CANCELED))
    await shortly(lambda: world.instance.child.killed)
    assert world.ended == {}


async def test_each_has_the_size_of_its_call_among_its_metrics(world):
    jobs(world, "ab")
    call(world, "ab")
    world.done("a", batch=2)
    world.done("b", batch=2)
    assert {json.loads(outcome.metrics)["batch_size"] for outcome in world.writer.ended} == {2}


async def test_those_of_a_call_share_its_cost(world):
    jobs(world, "ab")
    for run in world.table.runs.values():
        run.tariff, run.claimed, run.started_at = Tariff("cpu", 1.0), True, now() - 8.0
    call(world, "ab")
    world.done("a", batch=2, ms=8000.0)
    world.done("b", ms=8000.0)
    cost = {name: json.loads(world.ended[name].metrics)["cost"] for name in "ab"}
    assert cost["a"] == pytest.approx(cost["b"] / 2, rel=0.1)


async def test_what_a_call_prints_is_in_the_logs_of_all_of_it(world):
    jobs(world, "abc")
    world.print("nobody's\n")
    call(world, "ab")
    world.print("both\n", "a", "b")
    world.engine.on_output_bytes(world.instance, b"from C\n")
    world.print("own\n", "b")
    for name in "abc":
        world.done(name, batch=2)
    assert [world.ended[name].logs for name in "abc"] == ["both\nfrom C\n", "both\nfrom C\nown\n", ""]
    assert [name for name, _ in world.chunks] == ["a", "b", "a", "b", "b"]


async def test_only_a_child_that_batches_may_speak_of_calls(new_world):
    world = new_world()
    world.job("a")
    with pytest.raises(ValueError, match="unexpected Running"):
        call(world, "a")


async def test_a_call_of_strangers_is_none(world):
    jobs(world, "ab")
    call(world, ["x", "y"])
    assert [run.job.id for run in world.instance.running()] == ["a", "b"]
    assert world.instance.sharing() == []
