"""The circuit breaker as a state machine, under any order of tries, successes, failures and waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tidemill.webhook_dispatcher.circuit_breaker import (
    FAILURES_TO_OPEN,
    FIRST_OPEN_S,
    JITTER,
    OPEN_LIMIT_S,
    Admission,
    EndpointHealth,
    admission,
    after_failure,
    after_response,
    after_success,
    disable,
    open_duration_s,
    start_probe,
)

DISABLE_AFTER_S = 5 * 86_400.0
LEASE_S = 55.0


def failed(health, now, *, probe=False, randomness=0.5):
    return after_failure(health, now, randomness=randomness, probe=probe, disable_after_s=DISABLE_AFTER_S)


def opened(now=1000.0):
    health = EndpointHealth()
    for _ in range(FAILURES_TO_OPEN):
        health = failed(health, now)
    return health


def test_it_opens_after_some_failures_in_a_row_and_not_before():
    health = EndpointHealth()
    for _ in range(FAILURES_TO_OPEN - 1):
        health = failed(health, 1000)
        assert admission(health, 1000) is Admission.SEND
    assert admission(failed(after_success(health, 1000), 1000), 1000) is Admission.SEND
    assert admission(failed(health, 1000), 1000) is Admission.WAIT


def test_one_probes_when_its_time_is_over_and_the_others_wait():
    health = opened()
    assert health.open_until == 1000 + FIRST_OPEN_S
    later = health.open_until
    assert admission(health, later) is Admission.PROBE
    taken = start_probe(health, later, LEASE_S)
    assert admission(taken, later) is Admission.WAIT
    assert admission(taken, later + LEASE_S) is Admission.PROBE  # the prober died
    assert admission(after_success(taken, later), later) is Admission.SEND


def test_a_failed_probe_opens_it_for_longer_and_a_late_failure_does_not():
    health = opened()
    late = failed(health, 1001)
    assert (late.open_until, late.openings) == (health.open_until, 1)
    again = failed(start_probe(health, health.open_until, LEASE_S), 2000, probe=True)
    assert again.open_until == 2000 + 2 * FIRST_OPEN_S


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_its_times_grow_up_to_a_limit(openings, randomness):
    assert open_duration_s(openings, 0.5) <= open_duration_s(openings + 1, 0.5) <= OPEN_LIMIT_S
    assert (1 - JITTER) * FIRST_OPEN_S <= open_duration_s(openings, randomness) <= (1 + JITTER) * OPEN_LIMIT_S


def test_days_of_failures_disable_it_until_its_owner_says_otherwise():
    health = failed(opened(0), DISABLE_AFTER_S - 1, probe=True)
    assert health.disabled_at is None
    health = failed(health, DISABLE_AFTER_S, probe=True)
    assert health.disabled_reason == "every try has failed for 5.0 days"
    for after in (after_success(health, 10**6), after_response(health), failed(health, 10**6, probe=True)):
        assert admission(after, 10**7) is Admission.SKIP


def test_one_success_in_between_starts_the_days_anew():
    health = failed(after_success(opened(0), DISABLE_AFTER_S - 2), DISABLE_AFTER_S - 1)
    assert failed(health, DISABLE_AFTER_S + 1).disabled_at is None


def test_gone_needs_no_failures():
    assert admission(disable(EndpointHealth(), 5, "gone"), 5) is Admission.SKIP


class EndpointMachine(RuleBasedStateMachine):
    """DeliveryTries begin when they are admitted and end in any order; the prober may die."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.health = EndpointHealth()
        self.trying = []  # whether each try under way is a probe
        self.probed_until = None  # the time of the last admission's lease
        self.failures = 0

    @rule(seconds=st.floats(0.1, 2000))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def begin(self):
        verdict = admission(self.health, self.now)
        if verdict is Admission.SEND:
            self.trying.append(False)
        elif verdict is Admission.PROBE:
            assert self.probed_until is None or self.now >= self.probed_until, "two probes at once"
            self.health = start_probe(self.health, self.now, LEASE_S)
            self.probed_until = self.now + LEASE_S
            self.trying.append(True)

    @precondition(lambda self: self.trying)
    @rule(data=st.data(), good=st.booleans(), randomness=st.floats(0, 1, exclude_max=True))
    def end(self, data, good, randomness):
        probe = self.trying.pop(data.draw(st.integers(0, len(self.trying) - 1)))
        before = self.health
        if good:
            self.health, self.failures = after_success(before, self.now), 0
            assert admission(self.health, self.now) in {Admission.SEND, Admission.SKIP}
        else:
            self.health = failed(before, self.now, probe=probe, randomness=randomness)
            self.failures += 1
            assert self.health.openings >= before.openings
            if before.open_until is not None and not probe and self.health.disabled_at is None:
                assert self.health.open_until == before.open_until
        if probe:
            self.probed_until = None

    @precondition(lambda self: True in self.trying)
    @rule()
    def prober_dies(self):
        self.trying.remove(True)

    @invariant()
    def counts_failures_in_a_row(self):
        assert self.health.failures == self.failures
        assert (self.health.failing_since is None) == (self.failures == 0)

    @invariant()
    def is_never_shut_for_good_without_saying_so(self):
        if self.health.open_until is not None:
            assert self.health.open_until <= self.now + max((1 + JITTER) * OPEN_LIMIT_S, LEASE_S)
        assert (self.health.disabled_at is None) == (self.health.disabled_reason is None)


TestEndpoint = EndpointMachine.TestCase


@pytest.mark.parametrize("moment", [0.0, 10.0])
def test_what_is_healthy_is_tried(moment):
    assert admission(EndpointHealth(succeeded_at=moment), moment) is Admission.SEND
