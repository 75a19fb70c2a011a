"""Two schedulers at once, and what happens when the one that leads is gone or paused."""

import asyncio

from tidemill.contracts import subjects
from tidemill.contracts.events import Demand
from tidemill.contracts.ids import new_id
from tidemill.runtime.leader import IDLE_LIMIT_S, TRUST_S, Leader
from tidemill.testing.running import until


async def test_two_schedulers_boot_once_and_end_once(schedulers, worker, bus, rows, heard):
    queue = await rows.queue()
    await heard.listen(queue)
    await schedulers.start()
    await schedulers.start()
    await worker.start()
    await bus.send(subjects.DEMAND, Demand(queue=queue))
    await until("a boot", lambda: worker.booted(queue))
    gone = await rows.prediction(new_id())
    await rows.ended(gone)
    await until("the end", lambda: heard.ends)
    assert len(worker.booted(queue)) == 1
    assert [each.id for each in heard.ends] == [gone]


async def test_the_standby_takes_over_and_goes_on(schedulers, worker, bus, rows):
    first = await schedulers.start()
    await schedulers.start()
    await worker.start()
    await rows.ended(await rows.prediction(new_id()))
    await schedulers.stop(first)
    queue = await rows.queue()
    await bus.send(subjects.DEMAND, Demand(queue=queue))
    await until("a boot by the standby", lambda: worker.booted(queue))
    await rows.ended(await rows.prediction(new_id()))


async def test_one_leads_and_knows_when_its_lock_is_gone(config, database):
    async with Leader(config.database_url, "job") as one, Leader(config.database_url, "job") as two:
        keeping = [asyncio.create_task(each.keep()) for each in (one, two)]
        await until("a leader", lambda: one.held or two.held)
        assert one.held != two.held
        leader, standby = (one, two) if one.held else (two, one)
        keeping[0 if leader is one else 1].cancel()  # as if its process were paused: the session falls silent
        await until("the standby to lead", lambda: standby.held)
        assert not leader.held
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)


async def test_a_leader_whose_session_is_ended_knows_at_once(config, database):
    async with Leader(config.database_url, "other job") as one, Leader(config.database_url, "other job") as two:
        keeping = [asyncio.create_task(each.keep()) for each in (one, two)]
        for _ in range(3):
            await until("one leader", lambda: one.held != two.held)
            session = (one if one.held else two)._connection
            await database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidemill-leader'"
            )
            await until("its end to be noticed", session.is_closed)
            await until("one leader again", lambda: one.held != two.held)
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)


def test_the_holder_stops_believing_before_the_server_lets_go():
    assert TRUST_S < IDLE_LIMIT_S
