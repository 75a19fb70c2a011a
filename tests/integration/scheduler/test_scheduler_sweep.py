"""What becomes of open predictions, from the rows."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.ids import id_at, new_id
from tidemill.runtime.predictions import requeue
from tidemill.runtime.predictions.fences import Attempt
from tidemill.scheduler import store
from tidemill.scheduler.sweep_decisions import OpenPrediction
from tidemill.testing.running import until
from tidemill.worker.store import RENEW


def id_of(moment):
    return id_at(int(moment.timestamp() * 1000), 0)


async def now(lane):
    return (await store.clock(lane)).now


async def ready_worker(worker, *queues):
    for queue in queues:
        worker.add(f"i-{queue}", queue)
    await worker.start()


async def test_a_lost_hint_is_published_again_with_its_input(schedulers, worker, rows, heard):
    queue = await rows.queue()
    await heard.listen(queue)
    await schedulers.start()
    await ready_worker(worker, queue)
    small = await rows.prediction(queue, webhook="https://example.com/")
    large = await rows.prediction(queue, input=json.dumps({"text": "x" * 70_000}))
    await until("both hints", lambda: {each.id for each in heard.jobs} == {small, large})
    jobs = {each.id: each for each in heard.jobs}
    assert json.loads(bytes(jobs[small].input)) == {"n": 1}
    assert (jobs[small].attempt, jobs[small].gateway, jobs[small].webhook) == (1, "g", True)
    assert not jobs[large].input
    assert not jobs[large].webhook


async def test_no_hint_is_repeated_while_hints_wait(schedulers, worker, rows, heard):
    queue, other = await rows.queue(), await rows.queue()
    await heard.listen(queue)
    await heard.listen(other)
    worker.waiting[queue] = 1
    await schedulers.start()
    await ready_worker(worker, queue, other)
    await rows.prediction(queue)
    lost = await rows.prediction(other)
    await until("the other one's second hint", lambda: len([j for j in heard.jobs if j.id == lost]) >= 2)
    assert {each.id for each in heard.jobs} == {lost}


async def test_a_lost_worker_costs_one_attempt_and_then_the_prediction(schedulers, rows, heard, bus):
    queue = await rows.queue()
    await heard.listen(queue)
    await rows.worker("dead", -1)
    prediction = await rows.prediction(
        queue,
        status="processing",
        worker="dead",
        started_at=datetime.now(UTC),
        output='"half"',
        logs="half",
        webhook="https://example.com/",
    )
    await schedulers.start()
    await until("the next attempt's hint", lambda: heard.jobs)
    assert (heard.jobs[0].id, heard.jobs[0].attempt) == (prediction, 2)
    row = await rows.get(prediction)
    assert (row["status"], row["worker"], row["started_at"], row["output"], row["logs"]) == (
        "starting", None, None, None, None,
    )  # fmt: skip
    await rows.database.execute(
        "UPDATE prediction SET status = 'processing', worker = 'dead', started_at = now() WHERE id = $1", prediction
    )
    row = await rows.ended(prediction)
    assert (row["status"], row["error_code"], row["attempt"]) == ("failed", ErrorCode.WORKER_LOST, 2)
    assert set(json.loads(row["metrics"])) == {"predict_time", "total_time"}
    await until("the announcement", lambda: heard.ends)
    assert (heard.ends[0].id, heard.ends[0].status) == (prediction, "failed")
    assert await rows.database.value("SELECT count(*) FROM webhook_delivery WHERE prediction_id = $1", prediction) == 1


async def test_a_worker_with_a_lease_keeps_its_predictions(schedulers, rows):
    queue = await rows.queue()
    await rows.worker("alive", 3600)
    await rows.worker("dead", -1)
    kept = await rows.prediction(queue, status="processing", worker="alive", started_at=datetime.now(UTC))
    lost = await rows.prediction(queue, status="processing", worker="dead", attempt=2, started_at=datetime.now(UTC))
    await schedulers.start()
    await rows.ended(lost)
    assert (await rows.get(kept))["status"] == "processing"


async def test_deadlines_end_what_waits_and_what_runs(schedulers, rows):
    queue = await rows.queue()
    await rows.worker("alive", 3600)
    past = datetime.now(UTC) - timedelta(seconds=5)
    soon = datetime.now(UTC) + timedelta(seconds=2)
    waiting = await rows.prediction(queue, deadline=soon)
    running = await rows.prediction(queue, deadline=past, status="processing", worker="alive", started_at=past)
    await schedulers.start()
    assert (await rows.ended(running))["status"] == "canceled"
    row = await rows.ended(waiting)
    assert (row["status"], row["error_code"]) == ("aborted", ErrorCode.DEADLINE)
    assert row["completed_at"] >= soon


async def test_a_version_that_is_gone_fails_its_predictions(schedulers, rows):
    prediction = await rows.prediction(new_id())
    await schedulers.start()
    row = await rows.ended(prediction)
    assert row["status"] == "failed"
    assert "no longer exists" in row["error"]


async def test_an_instance_that_never_boots_fails_what_waits_with_its_error(schedulers, worker, rows):
    queue = await rows.queue()
    worker.boots, worker.error = "failed", "ModuleNotFoundError: No module named 'magic'"
    prediction = await rows.prediction(queue)
    await schedulers.start()
    await worker.start()
    row = await rows.ended(prediction)
    assert (row["status"], row["error_code"]) == ("failed", ErrorCode.BOOT_FAILED)
    assert "No module named 'magic'" in row["error"]
    # A busy machine may answer a command too late, and then it is sent again: the instance tells boots apart.
    assert len({each.instance for each in worker.booted(queue)}) == 3


async def test_after_the_bus_was_wiped_all_that_waits_is_hinted_again(
    schedulers, worker, rows, heard, scheduler_servers, bus
):
    queue = await rows.queue()
    await heard.listen(queue)
    await schedulers.start(republish_after_s=3600.0, republish_limit_s=3600.0)
    predictions = {await rows.prediction(queue) for _ in range(20)}
    worker.waiting[queue] = 20  # a worker that still believes that hints wait does not hinder it
    await ready_worker(worker, queue)
    nats, _ = scheduler_servers
    await nats.kill()
    await nats.start()
    await until("all hints", lambda: {each.id for each in heard.jobs} == predictions)


async def test_a_new_scheduler_finds_what_was_left_open_long_ago(schedulers, rows):
    queue = await rows.queue()
    first = await schedulers.start()
    ended = await rows.prediction(new_id())
    await rows.ended(ended)
    await schedulers.stop(first)
    long_ago = datetime.now(UTC) - timedelta(days=1)
    await rows.database.execute("DELETE FROM walk")
    old = await rows.prediction(queue, id=id_of(long_ago), accepted_at=long_ago, deadline=long_ago)
    await schedulers.start()
    assert (await rows.ended(old))["status"] == "aborted"


async def test_the_walk_is_remembered_no_further_than_the_oldest_open_row(schedulers, rows):
    queue = await rows.queue()
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    first = await schedulers.start()
    await rows.ended(await rows.prediction(new_id()))
    await rows.database.execute("DELETE FROM walk")
    await schedulers.stop(first)
    waiting = await rows.prediction(queue, id=id_of(long_ago), accepted_at=long_ago)
    await schedulers.start()
    await until("the walk to be saved", lambda: rows.database.value("SELECT reached FROM walk"))
    reached = await rows.database.value("SELECT reached FROM walk")
    assert reached < (await rows.get(waiting))["accepted_at"]


async def test_two_sweeps_at_once_begin_one_attempt(rows, database):
    queue = await rows.queue()
    prediction = await rows.prediction(queue, status="processing", worker="dead", started_at=datetime.now(UTC))
    row = await rows.get(prediction)
    seen = OpenPrediction(
        id=prediction,
        attempt=1,
        status="processing",
        account="a",
        gateway="g",
        queue=queue,
        worker="dead",
        leased=False,
        known=True,
        accepted_at=row["accepted_at"].timestamp(),
        created_at=0,
        started_at=0,
        deadline=None,
        webhook=False,
    )
    lanes = [database.dedicated_connection() for _ in range(4)]
    moved = await asyncio.gather(
        *(requeue.next_attempt_of_lost(lane, [Attempt(seen.id, seen.attempt)]) for lane in lanes)
    )
    assert sorted(len(each) for each in moved) == [0, 0, 0, 1]
    assert (await rows.get(prediction))["attempt"] == 2


async def test_a_lease_renewed_before_anybody_was_called_lost_counts(rows, database):
    queue = await rows.queue()
    await rows.worker("late", -1)
    prediction = await rows.prediction(queue, status="processing", worker="late", started_at=datetime.now(UTC))
    lane = database.dedicated_connection()
    (seen,) = await store.open_again(lane, [prediction])
    assert seen.leased
    assert await requeue.next_attempt_of_lost(lane, [Attempt(seen.id, seen.attempt)]) == {}
    assert await database.value(RENEW, "late", 3600.0) == "late"
    assert await store.mark_lost_workers(lane, await now(lane)) == []
    assert (await rows.get(prediction))["attempt"] == 1


async def test_who_was_called_lost_never_comes_back(rows, database):
    queue = await rows.queue()
    await rows.worker("late", -1)
    await rows.worker("alive", 3600)
    prediction = await rows.prediction(queue, status="processing", worker="late", started_at=datetime.now(UTC))
    lane = database.dedicated_connection()
    assert await store.mark_lost_workers(lane, await now(lane)) == ["late"]
    assert await store.mark_lost_workers(lane, await now(lane)) == []
    assert await database.value(RENEW, "late", 3600.0) is None
    (seen,) = await store.open_again(lane, [prediction])
    assert await requeue.next_attempt_of_lost(lane, [Attempt(seen.id, seen.attempt)]) == {prediction: 2}


async def test_renewals_and_losses_at_once_agree(rows, database):
    """Either it was renewed or it is lost, never both, however the two statements meet."""
    names = [f"w{number}" for number in range(100)]
    for name in names:
        await rows.worker(name, -1)
    lane = database.dedicated_connection()
    moment = await now(lane)
    renewals = [database.value(RENEW, name, 3600.0) for name in names]
    lost, *renewed = await asyncio.gather(store.mark_lost_workers(lane, moment), *renewals)
    assert sorted([*lost, *filter(None, renewed)]) == sorted(names)


async def test_after_a_takeover_workers_have_time_to_renew(schedulers, rows, database):
    queue = await rows.queue()
    await rows.worker("late", -1)
    kept = await rows.prediction(queue, status="processing", worker="late", started_at=datetime.now(UTC))
    gone = await rows.prediction(new_id())
    await schedulers.start(lease_grace_s=3600.0)
    await rows.ended(gone)  # it sweeps
    assert await database.value(RENEW, "late", 3600.0) == "late"
    row = await rows.get(kept)
    assert (row["status"], row["attempt"], row["worker"]) == ("processing", 1, "late")


async def test_large_numbers_of_open_rows_are_handled_in_batches(schedulers, rows, database):
    gone = new_id()
    await database.execute(
        "INSERT INTO prediction (id, account_id, model, version, queue, gateway, input, created_at) "
        "SELECT 'p' || n, 'a', 'a/m', 'v', $1, 'g', '{}', now() FROM generate_series(1, 1001) n",
        gone,
    )
    await schedulers.start()

    async def all_ended():
        return await database.value("SELECT count(*) FROM prediction WHERE status = 'failed'") == 1001

    await until("all to end", all_ended)
