from hypothesis import given
from hypothesis import strategies as st

from tidemill.scheduler.stretches import FRESH_AFTER_S, SETTLED_AFTER_S, SLICE_S, Stretch, Stretches, slices

NOW = 1_790_000_000.0


@given(st.floats(0, 1e6), st.floats(0, 5000))
def test_slices_are_the_whole_without_overlap(after, length):
    found = slices(after, after + length)
    assert [each.after for each in found[1:]] == [each.until for each in found[:-1]]
    assert all(0 < each.until - each.after <= SLICE_S * 1.0000001 for each in found)
    if found:
        assert (found[0].after, found[-1].until) == (after, after + length)


def test_what_is_fresh_is_read_early_once():
    stretches = Stretches(NOW)
    first, second = stretches.next_fresh(NOW + 2), stretches.next_fresh(NOW + 3)
    assert first == Stretch(NOW, NOW + 2 - FRESH_AFTER_S)
    assert second == Stretch(first.until, NOW + 3 - FRESH_AFTER_S)
    assert stretches.next_fresh(NOW + 3) is None


def test_a_clock_that_goes_back_reads_nothing():
    stretches = Stretches(NOW)
    stretches.next_fresh(NOW + 9)
    assert stretches.next_fresh(NOW + 5) is None
    stretches.advance(NOW - 100)
    assert stretches.next_settled() is None
    assert stretches.reached() == NOW


def test_the_newest_of_a_backlog_comes_first():
    stretches = Stretches(NOW - 2 * SLICE_S - SETTLED_AFTER_S)
    stretches.advance(NOW)
    assert stretches.next_settled() == Stretch(NOW - SLICE_S - SETTLED_AFTER_S, NOW - SETTLED_AFTER_S)


def test_reached_waits_for_the_oldest_unread_stretch():
    begin = NOW - 2 * SLICE_S - SETTLED_AFTER_S
    stretches = Stretches(begin)
    stretches.advance(NOW)
    stretches.read(stretches.next_settled())
    assert stretches.reached() == begin
    stretches.read(stretches.next_settled())
    assert stretches.reached() == NOW - SETTLED_AFTER_S


@given(st.lists(st.tuples(st.floats(0, 400), st.booleans()), max_size=30))
def test_every_moment_is_read_as_settled_exactly_once_whatever_fails(steps):
    stretches, now, done = Stretches(NOW), NOW, []
    for wait, works in steps:
        now += wait
        stretches.advance(now)
        stretch = stretches.next_settled()
        if stretch is not None and works:
            done.append(stretch)
            stretches.read(stretch)
    while stretch := stretches.next_settled():
        done.append(stretch)
        stretches.read(stretch)
    done.sort()
    assert [each.after for each in done[1:]] == [each.until for each in done[:-1]]
    assert not done or done[0].after == NOW
