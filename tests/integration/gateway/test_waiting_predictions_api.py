"""Priority, place in the queue and the reason of waiting, with a scheduler that the test plays."""

import asyncio

import pytest

from tidemill.contracts import subjects
from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.events import Job, PriorityWaiting, WaitingList, WaitingListRequest, WarmQueues
from tidemill.contracts.hardware import HARDWARE
from tidemill.contracts.ids import new_id
from tidemill.contracts.prediction import Status
from tidemill.runtime.clock import now
from tidemill.runtime.predictions import announcements, ending, outcome
from tidemill.runtime.predictions.outcome import Outcome
from tidemill.testing import rows

WAITING = "SELECT id FROM prediction WHERE account_id = $1 AND status = 'starting'"


class Scheduler:
    def __init__(self):
        self.line, self.asked = WaitingList(), 0

    async def answer(self, _asked):
        self.asked += 1
        return self.line


@pytest.fixture(scope="module")
async def scheduler(gateway):
    played = Scheduler()
    await gateway.parts.bus.serve(subjects.WAITING_LIST, WaitingListRequest, played.answer)
    return played


@pytest.fixture(autouse=True)
def forgetful(gateway, scheduler):
    """Nothing is remembered from the test before."""
    gateway.parts.queue_status._positions.clear()
    gateway.parts.queue_status._boots.clear()
    scheduler.asked = 0


@pytest.fixture
def create(gateway, alice, echo):
    async def make(**more):
        body = {"version": echo, "input": {"text": "x"}, **more}
        async with gateway.http.post(f"{gateway.url}/v1/predictions", json=body, headers=alice.headers) as response:
            return response.status, await response.json()

    return make


@pytest.fixture
def get(gateway, alice):
    async def look(prediction):
        path = f"{gateway.url}/v1/predictions/{prediction}"
        async with gateway.http.get(path, headers=alice.headers) as response:
            assert response.status == 200
            return await response.json()

    return look


async def queue_of(gateway, prediction):
    return await gateway.parts.database.value("SELECT queue FROM prediction WHERE id = $1", prediction)


async def test_those_that_wait_are_told_their_place_and_those_that_began_are_not(gateway, scheduler, create, get):
    ids = [(await create())[1]["id"] for _ in range(3)]
    scheduler.line = WaitingList(ids=ids[:2], until=now())
    newest = (await create())[1]["id"]
    scheduler.line = WaitingList(ids=ids, until=scheduler.line.until)
    places = [(await get(each)).get("queue_position") for each in (*ids, newest)]
    assert places == [1, 2, 3, 4]
    assert scheduler.asked == 1

    await gateway.parts.database.execute("UPDATE prediction SET status = 'processing' WHERE id = $1", ids[0])
    gateway.parts.queue_status._positions.clear()
    places = [(await get(each)).get("queue_position") for each in (*ids, newest)]
    assert places == [None, 1, 2, 3]


async def test_many_who_poll_at_once_share_one_question(scheduler, create, get):
    prediction = (await create())[1]["id"]
    scheduler.line = WaitingList(ids=[prediction], until=now())
    seen = await asyncio.gather(*(get(prediction) for _ in range(20)))
    assert {each["queue_position"] for each in seen} == {1}
    assert scheduler.asked == 1


async def test_the_reason_is_what_the_scheduler_said_last(gateway, create, get):
    prediction = (await create())[1]["id"]
    queue, room = await queue_of(gateway, prediction), gateway.parts.queue_status
    for warm, why in (
        (WarmQueues(queues=[queue]), "queue"),
        (WarmQueues(queues=[], booting=[queue]), "instance_boot"),
        (WarmQueues(queues=[], retrying=[queue]), "boot_retry"),
    ):
        await room.on_warm(warm)
        assert (await get(prediction))["waiting_for"] == why
    await room.on_warm(WarmQueues(queues=[]))
    assert "waiting_for" not in await get(prediction)  # it may be the next to be placed
    await gateway.parts.database.execute(
        "UPDATE prediction SET accepted_at = accepted_at - interval '1 minute' WHERE id = $1", prediction
    )
    assert (await get(prediction))["waiting_for"] == "capacity"


async def test_ended_ones_are_told_nothing(create, get, finish):
    prediction = (await create())[1]["id"]
    await finish(prediction)
    shown = await get(prediction)
    assert not {"queue_position", "waiting_for"} & set(shown)


async def test_a_priority_goes_into_the_row_the_hint_and_the_news(gateway, create, get):
    urgent, jobs = [], []

    async def hear_urgent(event):
        urgent.append(event)

    async def hear_job(event):
        jobs.append(event)

    plain = (await create())[1]
    assert "priority" not in plain
    queue = await queue_of(gateway, plain["id"])
    await gateway.parts.bus.listen(subjects.PRIORITY_WAITING, PriorityWaiting, hear_urgent)
    await gateway.parts.bus.listen(subjects.job(queue), Job, hear_job)
    status, made = await create(priority=7)
    assert (status, made["priority"]) == (201, 7)
    assert (await get(made["id"]))["priority"] == 7
    await create(priority=0)
    await create(priority=None)
    async with asyncio.timeout(120):
        while len(jobs) < 3:
            await asyncio.sleep(0.01)
    assert [job.priority for job in jobs] == [7, 0, 0]
    assert [event.queue for event in urgent] == [queue]
    row = await gateway.parts.database.row("SELECT * FROM urgent WHERE id = $1", made["id"])
    assert (row["queue"], row["priority"], row["runs"]) == (queue, 7, None)


@pytest.mark.parametrize("priority", [-1, 11, 1.5, "high", True, [1]])
async def test_what_is_no_priority_is_refused(create, priority):
    status, _ = await create(priority=priority)
    assert status == 422


async def canceled(gateway, alice, prediction):
    path = f"{gateway.url}/v1/predictions/{prediction}/cancel"
    async with gateway.http.post(path, headers=alice.headers) as response:
        return (await response.json())["metrics"]


async def test_a_canceled_run_costs_what_it_ran_and_one_that_never_began_nothing(gateway, alice, create):
    waiting, running = [(await create())[1]["id"] for _ in range(2)]
    await gateway.parts.database.execute(
        "UPDATE prediction SET status = 'processing', started_at = now() - interval '10 s' WHERE id = $1", running
    )
    metrics = await canceled(gateway, alice, running)
    assert metrics["hardware"] == "cpu"
    assert metrics["cost"] == pytest.approx(metrics["predict_time"] * HARDWARE["cpu"].price_usd_per_s, rel=1e-3)
    assert metrics["predict_time"] >= 10
    assert (await canceled(gateway, alice, waiting))["cost"] == 0


async def test_runs_of_a_model_that_has_become_private_have_no_cost(gateway, alice, create, echo):
    prediction = (await create())[1]["id"]
    owner, name = echo.split("/")
    visible = "UPDATE model SET visibility = $3 WHERE owner = $1 AND name = $2"
    await gateway.parts.database.execute(visible, owner, name, "private")
    try:
        metrics = await canceled(gateway, alice, prediction)
    finally:
        await gateway.parts.database.execute(visible, owner, name, "public")
    assert metrics["hardware"] == "cpu"
    assert "cost" not in metrics


async def test_the_end_tells_why_it_failed_and_which_boot_it_waited_for(gateway, alice, echo):
    """To a client that waits, by the event; and to whoever asks later, by the row."""

    async def fail():
        async with asyncio.timeout(120):
            while (row := await gateway.parts.database.row(WAITING, alice.id)) is None:
                await asyncio.sleep(0.01)
        failed = Outcome(
            id=row["id"],
            attempt=1,
            status=Status.FAILED,
            logs="",
            error="no",
            error_code=ErrorCode.OUT_OF_MEMORY,
            boot='{"total": 1.5}',
            metrics=outcome.metrics(now() - 1, now() - 1, now(), {"cost": 3}, {"cost": 0}),
            started_at=now() - 1,
            completed_at=now(),
        )
        done = await ending.end(gateway.parts.ending_connection, [failed])
        await announcements.announce(gateway.parts.bus, [(done[failed.id], failed)])

    body, headers = {"version": echo, "input": {"text": "x"}}, {**alice.headers, "Prefer": "wait"}
    failing = asyncio.create_task(fail())
    async with gateway.http.post(f"{gateway.url}/v1/predictions", json=body, headers=headers) as response:
        told = await response.json()
    await failing
    async with gateway.http.get(f"{gateway.url}/v1/predictions/{told['id']}", headers=alice.headers) as response:
        read = await response.json()
    for seen in (told, read):
        assert (seen["status"], seen["error_code"], seen["boot"]) == ("failed", "out_of_memory", {"total": 1.5})
        assert seen["metrics"]["cost"] == 0


async def test_who_waits_for_a_boot_is_told_since_when_and_what_its_set_up_prints(gateway, scheduler, create, get):
    made = (await create())[1]
    queue = await queue_of(gateway, made["id"])
    await gateway.parts.queue_status.on_warm(WarmQueues(queues=[], booting=[queue]))
    told = await get(made["id"])
    assert (told["waiting_for"], told["waiting_since"], told.get("setup_logs")) == (
        "instance_boot",
        made["created_at"],
        None,
    )
    worker = await rows.worker(gateway.parts.database, id=new_id(), lease_s=60)
    await gateway.parts.database.execute(
        "INSERT INTO boot (instance, version_queue, queue, worker, began_at, logs)"
        " SELECT $1, version_queue, $2, $3, '2026-01-01T00:00:00Z', repeat('x', 5000) || 'loading' FROM queue_version"
        " WHERE queue = $2",
        new_id(),
        queue,
        worker,
    )
    gateway.parts.queue_status._boots.clear()
    told = await get(made["id"])
    assert told["waiting_since"].startswith("2026-01-01T00:00:00")
    assert told["setup_logs"] == "x" * 1493 + "loading"
    await gateway.parts.queue_status.on_warm(WarmQueues(queues=[queue]))
    told = await get(made["id"])
    assert (told["waiting_for"], told["waiting_since"], told.get("setup_logs")) == ("queue", made["created_at"], None)
