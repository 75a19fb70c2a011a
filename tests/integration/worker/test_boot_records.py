"""What is kept of boots, in the real database."""

import pytest

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.ids import new_id
from tidemill.hosting.failures import Ending
from tidemill.runtime.clock import monotonic
from tidemill.testing import rows
from tidemill.worker.instances.boot_records import KEPT, BootRecords
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
    records = BootRecords(worker_servers.database)
    for number in range(KEPT + 5):
        await records.booted(instance(queue, number), f"log {number}")
    left = await kept(worker_servers, queue)
    assert [row["logs"] for row in left] == [f"log {number}" for number in range(5, KEPT + 5)]
    assert all(row["ready_at"] > row["began_at"] for row in left)


async def test_a_failure_and_a_later_crash_say_why(worker_servers, queue):
    records = BootRecords(worker_servers.database)
    failed, crashed = instance(queue, 1, "failed"), instance(queue, 2)
    failed.error = "no\0weights"
    crashed.boot = '{"total": 0.5}'
    for each in (failed, crashed, crashed):  # the same again changes nothing
        await records.booted(each, "set\0up")
    await records.crashed(crashed, Ending("It ended.", ErrorCode.MODEL_CRASHED))
    first, second = await kept(worker_servers, queue)
    assert (first["ready_at"], first["error"], first["logs"]) == (None, "no\ufffdweights", "set\ufffdup")
    assert (second["error"], second["phases"]) == ("It ended.", '{"total": 0.5}')


async def test_a_version_that_is_gone_leaves_no_record(worker_servers, queue):
    records = BootRecords(worker_servers.database)
    await records.booted(instance(queue), "")
    await worker_servers.database.execute("DELETE FROM version WHERE queue = $1", queue)
    await records.booted(instance(queue, 1), "")
    assert await kept(worker_servers, queue) == []
