"""Deployments as rows: their floors are kept, their limits hold, one release takes over from another without a gap."""

import pytest

from tidemill.contracts.ids import new_id
from tidemill.testing.running import until


@pytest.fixture
def deploy(database, rows):
    """Makes a deployment's next release, as the gateway does; its queue."""

    async def make(scale, deployment=None):
        queue, version = new_id(), await rows.queue()
        deployment = deployment or new_id()
        async with database.transaction() as connection:
            await connection.execute(
                "INSERT INTO deployment (id, account_id, owner, name) VALUES ($1, 'a', 'a', $1) "
                "ON CONFLICT (id) DO UPDATE SET changed_at = clock_timestamp()",
                deployment,
            )
            await connection.execute(
                "UPDATE release SET retired_at = now() WHERE deployment_id = $1 AND retired_at IS NULL", deployment
            )
            await connection.execute(
                "INSERT INTO release (queue, deployment_id, number, version_queue, streams, hardware, min_instances, "
                "max_instances) SELECT $1, $2, 1 + count(*), $3, false, 'cpu', $4, $5 FROM release "
                "WHERE deployment_id = $2",
                *(queue, deployment, version, *scale),
            )
        return queue

    return make


async def scale(database, queue, least, most):
    async with database.transaction() as connection:
        await connection.execute(
            "UPDATE release SET min_instances = $2, max_instances = $3, number = number + 1 WHERE queue = $1",
            *(queue, least, most),
        )
        await connection.execute(
            "UPDATE deployment SET changed_at = clock_timestamp() WHERE id = "
            "(SELECT deployment_id FROM release WHERE queue = $1)",
            queue,
        )


def alive(worker, queue):
    return [each for each in worker.instances.values() if each.queue == queue]


async def test_a_floor_is_booted_and_kept_also_by_the_next_leader(schedulers, worker, deploy):
    queue = await deploy((2, 3))
    await worker.start()
    first = await schedulers.start(idle_stop_s=0.1)
    await until("two instances", lambda: len(alive(worker, queue)) == 2)
    await schedulers.stop(first)
    for name in list(worker.instances)[:1]:
        del worker.instances[name]  # lost while nobody led
    await schedulers.start(idle_stop_s=0.1)
    await until("the floor again", lambda: len(alive(worker, queue)) == 2)
    assert len(worker.booted(queue)) == 3


async def test_a_change_of_scale_boots_and_stops(schedulers, worker, deploy, database):
    queue = await deploy((1, 3))
    await worker.start()
    await schedulers.start()
    await until("the floor", lambda: len(alive(worker, queue)) == 1)
    await scale(database, queue, 2, 3)
    await until("the higher floor", lambda: len(alive(worker, queue)) == 2)
    await scale(database, queue, 0, 1)
    await until("no more than the limit", lambda: len(alive(worker, queue)) == 1)


async def test_a_new_release_is_ready_before_the_old_one_goes(schedulers, worker, deploy, database, rows):
    deployment = new_id()
    old = await deploy((1, 2), deployment)
    await worker.start()
    await schedulers.start()
    await until("the old release", lambda: alive(worker, old))
    worker.boots = "booting"
    new = await deploy((1, 2), deployment)
    await until("the new release to boot", lambda: alive(worker, new))
    (kept,) = alive(worker, old)
    worker.instances[kept.id] = type(kept)(id=kept.id, queue=old, state="ready", idle_s=900.0, age_s=900.0)
    waiting = await rows.prediction(old)  # accepted before the change
    other = await rows.queue()
    await rows.prediction(other)
    await until("another plan", lambda: worker.booted(other))
    assert alive(worker, old)
    (booting,) = alive(worker, new)
    worker.add(booting.id, new)
    assert alive(worker, old)  # something waits for it
    await database.execute("UPDATE prediction SET status = 'succeeded', completed_at = now() WHERE id = $1", waiting)
    await until("the old release to go", lambda: not alive(worker, old))
    assert alive(worker, new)


async def test_disabling_cancels_what_is_open_and_stops_what_is_up(schedulers, worker, deploy, database, rows):
    queue, other = await deploy((1, 2)), await rows.queue()
    await worker.start()
    await schedulers.start()
    await until("the floor", lambda: alive(worker, queue))
    await rows.worker(worker.id, 60)
    waiting = await rows.prediction(queue)
    running = await rows.prediction(queue, status="processing", worker=worker.id)
    others = await rows.prediction(other)
    await scale(database, queue, 0, 0)
    for prediction in (waiting, running):
        ended = await rows.ended(prediction)
        assert (ended["status"], ended["error"]) == ("canceled", "The deployment was disabled.")
    await until("the instance to stop", lambda: not alive(worker, queue))
    late = await rows.prediction(queue)  # from a gateway that had not heard of it
    assert (await rows.ended(late))["status"] == "canceled"
    assert (await rows.get(others))["status"] == "starting"
