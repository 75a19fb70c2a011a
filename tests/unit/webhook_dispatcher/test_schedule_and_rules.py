import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.webhook_dispatcher.retry_schedule import JITTER, RETRY_WAITS_S, next_wait_s
from tidemill.webhook_dispatcher.rules import Verdict, classify_status, wants

randomness = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, len(RETRY_WAITS_S)), randomness)
def test_every_wait_lies_around_its_place_in_the_schedule(tries, at):
    wait = next_wait_s(tries, at)
    assert RETRY_WAITS_S[tries - 1] * (1 - JITTER) <= wait <= RETRY_WAITS_S[tries - 1] * (1 + JITTER)


@given(randomness)
def test_the_schedule_lasts_for_more_or_less_a_day_and_ends(at):
    assert next_wait_s(len(RETRY_WAITS_S) + 1, at) is None
    total = sum(next_wait_s(tries, at) for tries in range(1, len(RETRY_WAITS_S) + 1))
    assert 22 * 3600 < total < 36 * 3600


@given(st.integers(1, len(RETRY_WAITS_S)), randomness, st.floats(0, 1e9))
def test_a_receiver_may_ask_for_patience_but_not_for_haste_or_for_ever(tries, at, asked):
    wait = next_wait_s(tries, at, retry_after_s=asked)
    assert wait >= next_wait_s(tries, at)
    assert wait <= max(next_wait_s(tries, at), RETRY_WAITS_S[-1])


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_success(status):
    assert classify_status(status) is Verdict.DELIVERED


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 429, 500, 502, 503])
def test_everything_else_is_tried_again(status):
    assert classify_status(status) is Verdict.RETRY


def test_gone_means_never_again():
    assert classify_status(410) is Verdict.GIVE_UP


def test_the_filter():
    assert wants(None, "completed")
    assert wants(None, "output")
    assert not wants(None, "logs")
    assert not wants(["completed"], "output")
    assert not wants([], "completed")
