"""The leader tells gateways what waits and what is open."""

from datetime import UTC, datetime

from tidemill.contracts import subjects
from tidemill.contracts.events import LoadReport, WaitingList, WaitingListRequest
from tidemill.scheduler.handlers.leader_sweep import LONGEST_WAIT, WAITING
from tidemill.testing.running import until


async def test_the_leader_tells_what_waits_and_what_is_open(schedulers, rows, bus):
    told = []

    async def hear(load):
        told.append(load)

    await bus.listen(subjects.LOAD, LoadReport, hear)
    queue = await rows.queue()
    await rows.worker("w", 60)
    await rows.prediction(queue, status="processing", worker="w", started_at=datetime.now(UTC))
    waiting = [await rows.prediction(queue) for _ in range(2)]
    await schedulers.start()
    await schedulers.start()  # a standby has nothing to say
    await until("the three to be told", lambda: told and told[-1].open.get("a") == 3)
    (line,) = told[-1].queues
    first = (await rows.get(waiting[0]))["accepted_at"].timestamp()
    assert (line.queue, line.waiting) == (queue, 2)
    assert abs(line.oldest_at - first) < 0.001
    assert 0 < told[-1].behind_s < 10
    assert WAITING._value.get() == 2
    assert LONGEST_WAIT._value.get() > 0
    moments = [load.at for load in told]
    assert moments == sorted(moments)

    await rows.database.execute(
        "UPDATE prediction SET status = 'canceled', completed_at = now() WHERE id = $1", waiting[0]
    )
    await until("one less", lambda: told[-1].open.get("a") == 2)
    assert told[-1].queues[0].waiting == 1


async def test_the_leader_says_who_waits_in_a_queue_and_a_standby_leaves_it_to_it(schedulers, rows, bus):
    queue = await rows.queue()
    waiting = [await rows.prediction(queue) for _ in range(3)]
    await schedulers.start()
    await schedulers.start()

    async def line():
        return await bus.ask(subjects.WAITING_LIST, WaitingListRequest(queue=queue), WaitingList, timeout_s=1.0)

    async def known():
        found = await line()
        return found is not None and found.ids == waiting and found.whole

    await until("the line", known)
    assert (
        await bus.ask(subjects.WAITING_LIST, WaitingListRequest(queue="other"), WaitingList, timeout_s=1.0)
    ).ids == []
