"""What is kept of boots, in the real database."""

from types import SimpleNamespace

import pytest

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.ids import new_id
from tidemill.hosting.child.failures import ChildFailure
from tidemill.runtime.clock import monotonic
from tidemill.testing import rows
from tidemill.worker.instances.boot_records import STOPPED, BootRecords
from tidemill.worker.instances.boot_store import KEPT
from tidemill.worker.instances.managed_instance import ManagedInstance
from tidemill.worker.runs.instance import Instance


@pytest.fixture
async def queue(worker_servers):
    database = worker_servers.database
    return await rows.version(database, await rows.model(database, await rows.account(database, new_id())))


def instance(queue, number=0, state="ready"):
    made = Instance(f"i{number:03}-{queue}", queue, monotonic() - 100 + number)
    made.state = state
    return made


async def kept(worker_servers, queue):
    return await worker_servers.database.fetch("SELECT * FROM boot WHERE version_queue = $1 ORDER BY began_at", queue)


async def test_the_last_ones_are_kept(worker_servers, queue):
    records = BootRecords(worker_servers.database, "w")
    for number in range(KEPT + 5):
        await records.record_boot(instance(queue, number), f"log {number}")
    left = await kept(worker_servers, queue)
    assert [row["logs"] for row in left] == [f"log {number}" for number in range(5, KEPT + 5)]
    assert all(row["ready_at"] > row["began_at"] for row in left)


async def test_a_failure_and_a_later_crash_say_why(worker_servers, queue):
    records = BootRecords(worker_servers.database, "w")
    failed, crashed = instance(queue, 1, "failed"), instance(queue, 2)
    failed.error = "no\0weights"
    crashed.boot = '{"total": 0.5}'
    for each in (failed, crashed, crashed):  # the same again changes nothing
        await records.record_boot(each, "set\0up")
    await records.record_crash(crashed, ChildFailure("It ended.", ErrorCode.MODEL_CRASHED))
    first, second = await kept(worker_servers, queue)
    assert (first["ready_at"], first["error"], first["logs"]) == (None, "no\ufffdweights", "set\ufffdup")
    assert (second["error"], second["phases"]) == ("It ended.", '{"total": 0.5}')


async def test_a_version_that_is_gone_leaves_no_record(worker_servers, queue):
    records = BootRecords(worker_servers.database, "w")
    await records.record_boot(instance(queue), "")
    await worker_servers.database.execute("DELETE FROM version WHERE queue = $1", queue)
    await records.record_boot(instance(queue, 1), "")
    assert await kept(worker_servers, queue) == []


def booting(made, printed):
    made.state = "booting"
    life = ManagedInstance(made)
    life.connection = SimpleNamespace(boot_log=printed)
    return life


async def test_a_boot_that_takes_long_can_be_read_while_it_is_under_way(worker_servers, queue):
    records, slow = BootRecords(worker_servers.database, "w"), booting(instance(queue), "loading\0\n")
    fresh = booting(Instance(f"fresh-{queue}", queue, monotonic()), "")
    await records.save([slow, fresh])
    (row,) = await kept(worker_servers, queue)
    assert (row["logs"], row["ready_at"], row["error"], row["worker"]) == ("loading\ufffd\n", None, None, "w")
    slow.connection.boot_log = "loading\nstill\n"
    await records.save([slow])
    assert [row["logs"] for row in await kept(worker_servers, queue)] == ["loading\nstill\n"]

    slow.instance.state, slow.instance.boot = "ready", '{"total": 7}'
    await records.record_boot(slow.instance, "loading\nstill\ndone\n")
    await records.save([])
    (row,) = await kept(worker_servers, queue)
    assert (row["logs"], row["error"], row["phases"]) == ("loading\nstill\ndone\n", None, '{"total": 7}')
    assert row["ready_at"] > row["began_at"]


async def test_a_boot_that_was_stopped_does_not_look_as_if_it_went_on(worker_servers, queue):
    records, slow = BootRecords(worker_servers.database, "w"), booting(instance(queue), "loading\n")
    await records.save([slow])
    await records.save([])
    (row,) = await kept(worker_servers, queue)
    assert (row["ready_at"], row["error"]) == (None, STOPPED)


async def test_a_long_boot_is_one_of_those_kept(worker_servers, queue):
    records, slow = BootRecords(worker_servers.database, "w"), booting(instance(queue), "slow")
    await records.save([slow])
    for number in range(1, KEPT + 5):
        await records.record_boot(instance(queue, number), "quick")
    slow.instance.state = "ready"
    await records.record_boot(slow.instance, "slow")
    assert [row["logs"] for row in await kept(worker_servers, queue)] == ["slow"] + ["quick"] * (KEPT - 1)
