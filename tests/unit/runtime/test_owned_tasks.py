"""Tasks that start on demand: the owner is told of those that fail, and cancels those that are left."""

import asyncio

import structlog

from tidemill.runtime.tasks import Tasks, set_within
from tidemill.testing.tasks import shortly


async def fail():
    raise LookupError("nobody foresaw this")


async def test_a_task_that_fails_is_logged_by_its_name_and_told_to_its_owner():
    told = []
    tasks = Tasks(failed=told.append)
    with structlog.testing.capture_logs() as logs:
        tasks.start(fail(), "fetch a")
        await shortly(lambda: not len(tasks))
    assert [(each["task"], each["log_level"]) for each in logs] == [("fetch a", "error")]
    assert isinstance(told[0], LookupError)


async def test_tasks_that_end_well_or_are_canceled_say_nothing():
    tasks = Tasks()
    with structlog.testing.capture_logs() as logs:
        assert await tasks.start(asyncio.sleep(0, "well"), "short") == "well"
        tasks.start(asyncio.sleep(3600), "long")
        await tasks.stop()
    assert not logs
    assert len(tasks) == 0


async def test_an_owner_waits_for_what_runs():
    tasks, gate = Tasks(), asyncio.Event()
    tasks.start(gate.wait(), "waits")
    finished = asyncio.ensure_future(tasks.finished())
    await asyncio.sleep(0)
    assert not finished.done()
    gate.set()
    await finished
    assert len(tasks) == 0


async def test_an_event_is_awaited_no_longer_than_asked():
    event = asyncio.Event()
    assert not await set_within(event, 0.001)
    event.set()
    assert await set_within(event, 3600)
