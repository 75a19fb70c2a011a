"""The lease: renewed through an outage of the database, and given up only when somebody has called the worker lost."""

from types import SimpleNamespace

import pytest

from tidemill.worker.fleet import lease as lease_module
from tidemill.worker.fleet.lease import Lease, LeaseLost


class Connection:
    """Answers, or raises, what it was told to, one after another."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def fetch(self, _sql, *_args):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def lease_of():
    def lease(*answers):
        connection = Connection(*answers)
        return Lease(SimpleNamespace(dedicated_connection=lambda **_: connection), "w", 0.001), connection

    return lease


async def test_a_database_that_is_away_loses_no_lease(lease_of):
    lease, connection = lease_of([1], OSError(), TimeoutError(), [1], OSError(), [])
    with pytest.raises(LeaseLost):
        await lease.keep()
    assert connection.answers == []


async def test_after_a_failure_it_does_not_wait_for_its_next_turn(lease_of, monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(lease_module.asyncio, "sleep", sleep)
    lease, _ = lease_of([1], OSError(), [1], [])
    lease._lease_s = 60.0
    with pytest.raises(LeaseLost):
        await lease.keep()
    assert slept == [12.0, 12.0, lease_module.RETRY_S, 12.0]
