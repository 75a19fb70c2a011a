"""Boots, stops and warmth: the planner with real commands."""

import asyncio

from tidemill.contracts import subjects
from tidemill.contracts.events import Demand, StopInstance, WarmQueues
from tidemill.contracts.ids import new_id
from tidemill.testing.running import until


async def test_demand_for_a_cold_queue_boots_at_once_and_once(schedulers, worker, bus, rows):
    queue = await rows.queue()
    await schedulers.start(tick_s=3600.0)
    await worker.start()
    await asyncio.gather(*(bus.send(subjects.DEMAND, Demand(queue=queue)) for _ in range(50)))
    await until("a boot", lambda: worker.booted(queue))
    for _ in range(20):
        await bus.send(subjects.DEMAND, Demand(queue=queue))
        await worker.beat()
    assert len(worker.booted(queue)) == 1


async def test_planning_begins_when_every_worker_with_a_lease_has_been_heard(
    schedulers, worker, make_worker, bus, rows
):
    queue, silent = await rows.queue(), make_worker()
    for each in (worker, silent):
        await rows.worker(each.id, 3600)
    await worker.start()
    await schedulers.start(settle_s=3600.0)
    await rows.prediction(queue)
    await rows.ended(await rows.prediction(new_id()))  # so it sweeps
    assert not worker.booted(queue)
    await silent.start()
    await until("the boot", lambda: worker.booted(queue) or silent.booted(queue))


async def test_gateways_hear_which_queues_are_warm(schedulers, worker, bus):
    heard = []

    async def note(event):
        heard.append(event.queues)

    await bus.listen(subjects.WARM_QUEUES, WarmQueues, note)
    await schedulers.start(warm_s=0.2)
    worker.add("i1", "warm-queue")
    worker.add("i2", "booting-queue", "booting")
    await worker.start()
    await until("the ready queue", lambda: heard and heard[-1] == ["warm-queue"])
    count = len(heard)
    await until("it to be repeated", lambda: len(heard) > count + 1)
    worker.instances.clear()
    await until("the end of it", lambda: heard[-1] == [])


async def test_idle_instances_are_stopped(schedulers, worker):
    worker.add("idle", "q", idle_s=11.0)
    worker.add("busy", "p", idle_s=0.0, running=1)
    await schedulers.start(idle_stop_s=10.0)
    await worker.start()
    await until("the stop", lambda: worker.commands)
    assert worker.commands == [StopInstance(instance="idle")]


async def test_room_is_made_for_a_cold_queue(schedulers, worker, bus, rows):
    queue = await rows.queue()
    worker.places = 1
    worker.add("old", "other", idle_s=5.0)
    await schedulers.start()
    await worker.start()
    await bus.send(subjects.DEMAND, Demand(queue=queue))
    await until("the boot", lambda: worker.booted(queue))
    assert worker.commands[0] == StopInstance(instance="old")


async def test_a_refused_boot_is_tried_again(schedulers, worker, rows):
    queue = await rows.queue()
    await rows.prediction(queue)
    worker.boots = "refused"
    await schedulers.start()
    await worker.start()
    await until("a refusal", lambda: worker.booted(queue))
    worker.boots = "ready"
    await until("the boot", lambda: worker.instances)


async def test_a_worker_that_never_answers_does_not_hold_others_up(schedulers, worker, bus, rows, make_worker):
    silent = make_worker(places=100)
    queue, other = await rows.queue(), await rows.queue()
    await schedulers.start(command_timeout_s=60.0)

    async def swallow(_message):
        return

    await bus.listen_raw(subjects.command(silent.id), swallow)
    await worker.start()
    await silent.beat()
    await bus.send(subjects.DEMAND, Demand(queue=queue))
    await worker.beat()
    await bus.send(subjects.DEMAND, Demand(queue=other))
    # The emptiest worker swallows commands; as soon as it falls silent, the other one gets what it was asked for.
    await until("the boots", lambda: worker.booted(queue) and worker.booted(other))


async def test_late_predictions_bring_more_instances(schedulers, worker, rows):
    queue = await rows.queue()
    for _ in range(8):
        await rows.prediction(queue)
    await schedulers.start(late_after_s=0.5, max_instances_per_queue=3)
    worker.waiting[queue] = 8
    await worker.start()
    await until("three instances", lambda: len(worker.instances) == 3)
    assert len(worker.booted(queue)) == 3


async def test_a_slow_prediction_gets_an_instance_of_its_own_on_a_free_place(schedulers, make_worker, rows):
    queue, first, second = await rows.queue(), make_worker(places=1), make_worker(places=1)
    for each in (first, second):
        await rows.worker(each.id, 3600)
    first.add("busy", queue, running=1, run_s=20.0, boot_s=0.2)
    await rows.prediction(queue)
    await schedulers.start()
    await first.start()
    await second.start()
    await until("the boot", lambda: second.booted(queue))


async def test_whoever_waited_for_the_boot_alone_brings_no_second_instance(schedulers, worker, rows):
    queue = await rows.queue()
    await rows.worker(worker.id, 3600)
    predictions = [await rows.prediction(queue) for _ in range(3)]
    worker.boots = "booting"
    await schedulers.start(late_after_s=0.1, sweep_s=0.05)
    await worker.start()
    (boot,) = await until("the boot", lambda: worker.booted(queue))
    await asyncio.sleep(0.5)  # all three are late, and nobody could have begun them
    worker.add(boot.instance, queue, running=3, slots=3, run_s=20.0, boot_s=0.2)
    await rows.database.execute(
        "UPDATE prediction SET status = 'processing', worker = $1, started_at = now() WHERE id = ANY ($2)",
        worker.id,
        predictions,
    )
    await rows.ended(await rows.prediction(new_id()))  # so it sweeps
    await asyncio.sleep(1)
    assert len(worker.booted(queue)) == 1


async def test_a_boot_that_took_as_long_as_several_may_is_not_tried_again_for_those_who_wait(schedulers, worker, rows):
    queue = await rows.queue()
    worker.boots, worker.error = "failed", "it took longer than 60 s"  # as old as the fake says
    prediction = await rows.prediction(queue)
    await schedulers.start(boot_failures_limit_s=60.0, boot_backoff_s=3600.0)
    await worker.start()
    row = await rows.ended(prediction)
    assert row["error_code"] == "boot_failed"
    assert row["error"] == "The model could not be started: it took longer than 60 s"
    assert len(worker.booted(queue)) == 1
