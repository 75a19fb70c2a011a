from hypothesis import given
from hypothesis import strategies as st

from tidemill.gateway.limits import gcra
from tidemill.gateway.limits.gcra import Rate

RATES = st.builds(Rate, st.integers(1, 6000), st.integers(1, 300))
STEPS = st.lists(st.tuples(st.floats(0, 30), st.integers(1, 5)), max_size=60)


def test_a_burst_then_the_rate():
    rate, full_at, now = Rate(per_minute=60, burst=3), 0.0, 100.0
    verdicts = []
    for _ in range(4):
        full_at, verdict = gcra.take(full_at, now, rate)
        verdicts.append(verdict)
    assert [each.admitted for each in verdicts] == [True, True, True, False]
    assert [each.remaining for each in verdicts] == [2, 1, 0, 0]
    assert [each.full_in_s for each in verdicts] == [1, 2, 3, 3]
    assert verdicts[-1].retry_in_s == 1
    assert gcra.take(full_at, now + 0.9, rate)[1].retry_in_s > 0
    full_at, verdict = gcra.take(full_at, now + 1, rate)
    assert (verdict.admitted, verdict.remaining) == (True, 0)


def test_what_is_refused_costs_nothing():
    full_at, verdict = gcra.take(160.0, 100.0, Rate(60, 1))
    assert not verdict.admitted
    assert full_at == 160.0


def test_more_than_the_burst_needs_a_whole_burst():
    rate = Rate(per_minute=60, burst=10)
    full_at, verdict = gcra.take(0.0, 100.0, rate, 100)
    assert verdict.admitted
    assert full_at == 200.0
    _, verdict = gcra.take(full_at, 150.0, rate, 100)
    assert not verdict.admitted
    assert verdict.retry_in_s == 50.0


@given(RATES, STEPS)
def test_every_window_admits_no_more_than_burst_and_rate(rate, steps):
    full_at, now, taken = 0.0, 1000.0, []
    for pause, wanted in steps:
        now += pause
        cost = min(wanted, rate.burst)
        full_at, verdict = gcra.take(full_at, now, rate, cost)
        if verdict.admitted:
            taken.append((now, cost))
    for start, (since, _) in enumerate(taken):
        for end in range(start, len(taken)):
            total = sum(cost for _, cost in taken[start : end + 1])
            assert total <= rate.burst + (taken[end][0] - since) * rate.per_minute / 60 + 1e-6


@given(RATES, STEPS)
def test_waiting_as_told_is_enough_and_not_too_much(rate, steps):
    full_at, now = 0.0, 1000.0
    for pause, cost in steps:
        now += pause
        full_at, verdict = gcra.take(full_at, now, rate, cost)
        assert 0 <= verdict.remaining <= rate.burst
        assert verdict.limit == rate.burst
        if not verdict.admitted:
            after = now + verdict.retry_in_s
            assert gcra.take(full_at, after + 1e-6, rate, cost)[1].admitted
            early = gcra.take(full_at, now + verdict.retry_in_s * 0.9, rate, cost)[1]
            assert not early.admitted or verdict.retry_in_s < 1e-6


@given(RATES, st.integers(0, 300))
def test_what_is_said_to_remain_remains(rate, used):
    full_at, now = 0.0, 1000.0
    for _ in range(min(used, rate.burst)):
        full_at, verdict = gcra.take(full_at, now, rate)
        assert verdict.admitted
    remaining = rate.burst - min(used, rate.burst)
    if remaining:
        full_at, verdict = gcra.take(full_at, now, rate, remaining)
        assert verdict.admitted
        assert verdict.remaining == 0
    assert not gcra.take(full_at, now, rate)[1].admitted
