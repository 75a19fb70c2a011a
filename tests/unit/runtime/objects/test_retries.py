"""Retries are limited by time, not by number."""

import asyncio

import pytest

from tidemill.runtime.objects import retries as module
from tidemill.runtime.objects.retries import NOTIFY_AFTER_S, RETRY_BUDGET_S, Outage, Retries, RetryBudget


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    monkeypatch.setattr(module.asyncio, "sleep", clock.sleep)
    return clock


async def given_up_after(retries, clock):
    began = clock.now
    while await retries.wait("away"):
        assert clock.now < began + 10 * RETRY_BUDGET_S
    return clock.now - began


async def test_a_server_is_tried_for_longer_than_a_minute(clock):
    waited = await given_up_after(Retries(RetryBudget(), Outage("server")), clock)
    assert 60 < RETRY_BUDGET_S - 5 < waited <= RETRY_BUDGET_S


async def test_time_before_the_first_failure_does_not_count(clock):
    """A large file is transferred for long before the connection breaks."""
    retries = Retries(RetryBudget(), Outage("server"))
    clock.now += 3600
    assert RETRY_BUDGET_S - 5 < await given_up_after(retries, clock) <= RETRY_BUDGET_S


async def test_progress_restores_the_whole_budget(clock):
    retries, began = Retries(RetryBudget(), Outage("server")), clock.now
    for _ in range(20):
        for _ in range(15):
            assert await retries.wait("broken")
        retries.succeeded()
    assert clock.now - began > 3 * RETRY_BUDGET_S


async def test_a_budget_made_before_an_outage_does_not_start_again_at_its_first_request(clock):
    """Four run at a time: the hundredth must not fail an hour after the first."""
    outage = Outage("server")
    first, late = Retries(RetryBudget(), outage), RetryBudget()
    await given_up_after(first, clock)
    clock.now += 5
    assert not await Retries(late, outage).wait("away")
    assert await Retries(RetryBudget(), outage).wait("away")  # asked for now


async def test_a_request_that_always_fails_is_given_up_while_others_succeed(clock):
    outage = Outage("server")
    retries, other = Retries(RetryBudget(), outage), Retries(RetryBudget(), outage)
    began = clock.now
    while await retries.wait("status 500"):
        other.succeeded()
    assert clock.now - began <= RETRY_BUDGET_S


async def test_a_budget_of_zero_allows_a_single_try(clock):
    assert not await Retries(RetryBudget(0), Outage("server")).wait("away")
    assert clock.now == 1000.0


async def test_a_long_wait_is_notified_once_and_a_short_one_never(clock):
    told = []
    retries = Retries(RetryBudget(on_wait=lambda: told.append(clock.now)), Outage("server"))
    await retries.wait("away")
    assert told == []
    await given_up_after(retries, clock)
    assert len(told) == 1
    assert told[0] - 1000.0 >= NOTIFY_AFTER_S


async def test_an_outage_is_logged_now_and_then_and_its_end_once(clock, monkeypatch):
    said = []

    class Log:
        def warning(self, event, **_fields):
            said.append(event)

        info = warning

    monkeypatch.setattr(module, "log", Log)
    outage = Outage("object store")
    many = [Retries(RetryBudget(), outage) for _ in range(100)]
    for retries in many:
        await retries.wait("away")
    for retries in many:
        retries.succeeded()
    assert said[0] == "object store away"
    assert said[-1] == "object store is back"
    assert len(said) <= 3 + (clock.now - 1000.0) / module.LOG_EVERY_S


async def test_waiting_ends_with_its_task():
    retries = Retries(RetryBudget(3600), Outage("server"))
    task = asyncio.create_task(retries.wait("away"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
