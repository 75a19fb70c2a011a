from hypothesis import given
from hypothesis import strategies as st

from tidemill.stack.supervision import backoff


def test_first_restart_comes_soon():
    assert backoff.delay_s(1, jitter=0) == backoff.FIRST_S


def test_doubles_with_each_failure():
    assert [backoff.delay_s(failures, jitter=0) for failures in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]


@given(st.integers(min_value=1, max_value=10**6), st.floats(min_value=0, max_value=1))
def test_stays_between_half_the_first_and_the_cap(failures, jitter):
    assert backoff.FIRST_S / 2 <= backoff.delay_s(failures, jitter) <= backoff.CAP_S


@given(st.integers(min_value=1, max_value=100))
def test_jitter_only_shortens(failures):
    full = backoff.delay_s(failures, jitter=0)
    assert backoff.delay_s(failures, jitter=1) == full / 2


def test_a_long_run_forgives_earlier_failures():
    assert backoff.failures_after(7, uptime_s=backoff.RESET_AFTER_S) == 1


def test_a_short_run_adds_to_the_row():
    assert backoff.failures_after(7, uptime_s=backoff.RESET_AFTER_S - 1) == 8
