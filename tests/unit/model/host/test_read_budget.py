"""How much is taken of one child: pure decisions about what was read, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.model.host.read_budget import BURST_S, BYTES_PER_S, FLOOD_S, FRAMES_PER_S, ReadBudget

NOW = 1000.0


def test_what_a_model_says_now_and_then_costs_it_no_wait():
    budget = ReadBudget()
    for second in range(100):
        assert budget.spend(FRAMES_PER_S // 2, BYTES_PER_S // 4, NOW + second) == 0
        assert not budget.floods(NOW + second)


@pytest.mark.parametrize(("frames", "size"), [(FRAMES_PER_S, 0), (0, BYTES_PER_S)])
def test_above_what_it_has_saved_it_waits_until_it_may_go_on(frames, size):
    budget = ReadBudget()
    assert budget.spend(frames, size, NOW) == pytest.approx(1.0 - BURST_S)
    assert budget.spend(frames, size, NOW) == pytest.approx(1.0)
    assert budget.spend(0, 0, NOW + 1.0) == pytest.approx(0.0)


def flood(budget, seconds, *, at=NOW):
    """Reads as much as it is let, for so long; the end."""
    while at < NOW + seconds:
        at += budget.spend(FRAMES_PER_S // 10, 0, at) or 0.001
    return at


def test_who_is_over_it_without_a_break_floods():
    budget = ReadBudget()
    assert not budget.floods(flood(budget, FLOOD_S / 2))
    assert budget.floods(flood(budget, FLOOD_S + 2 * BURST_S, at=NOW + FLOOD_S / 2))


def test_a_break_forgives_all():
    budget = ReadBudget()
    for start in range(0, 100, 8):
        at = flood(budget, start + 6, at=NOW + start)
        assert not budget.floods(at)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**9), st.floats(0, 3)), max_size=50))
def test_no_more_than_the_rate_and_what_was_saved_is_ever_taken(reads):
    budget, now, cost = ReadBudget(), NOW, 0.0
    for frames, size, after_s in reads:
        now += after_s
        pause_s = budget.spend(frames, size, now)
        cost += frames / FRAMES_PER_S + size / BYTES_PER_S
        assert pause_s >= 0
        now += pause_s
        assert cost <= now - NOW + BURST_S + 1e-6
