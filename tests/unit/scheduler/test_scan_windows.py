from hypothesis import given
from hypothesis import strategies as st

from tidemill.runtime.scan import SETTLED_AFTER_S, Window
from tidemill.scheduler.scan_windows import FRESH_AFTER_S, WINDOW_LIMIT_S, ScanWindows, split

NOW = 1_790_000_000.0


@given(st.floats(0, 1e6), st.floats(0, 5000))
def test_split_windows_are_the_whole_without_overlap(after, length):
    found = split(after, after + length)
    assert [each.after for each in found[1:]] == [each.until for each in found[:-1]]
    assert all(0 < each.until - each.after <= WINDOW_LIMIT_S * 1.0000001 for each in found)
    if found:
        assert (found[0].after, found[-1].until) == (after, after + length)


def test_what_is_fresh_is_read_early_once():
    windows = ScanWindows(NOW)
    first, second = windows.next_fresh(NOW + 2), windows.next_fresh(NOW + 3)
    assert first == Window(NOW, NOW + 2 - FRESH_AFTER_S)
    assert second == Window(first.until, NOW + 3 - FRESH_AFTER_S)
    assert windows.next_fresh(NOW + 3) is None


def test_a_clock_that_goes_back_reads_nothing():
    windows = ScanWindows(NOW)
    windows.next_fresh(NOW + 9)
    assert windows.next_fresh(NOW + 5) is None
    windows.advance(NOW - 100)
    assert windows.next_settled() is None
    assert windows.watermark() == NOW


def test_the_newest_of_a_backlog_comes_first():
    windows = ScanWindows(NOW - 2 * WINDOW_LIMIT_S - SETTLED_AFTER_S)
    windows.advance(NOW)
    assert windows.next_settled() == Window(NOW - WINDOW_LIMIT_S - SETTLED_AFTER_S, NOW - SETTLED_AFTER_S)


def test_the_watermark_waits_for_the_oldest_unread_window():
    begin = NOW - 2 * WINDOW_LIMIT_S - SETTLED_AFTER_S
    windows = ScanWindows(begin)
    windows.advance(NOW)
    windows.read(windows.next_settled())
    assert windows.watermark() == begin
    windows.read(windows.next_settled())
    assert windows.watermark() == NOW - SETTLED_AFTER_S


@given(st.lists(st.tuples(st.floats(0, 400), st.booleans()), max_size=30))
def test_every_moment_is_read_as_settled_exactly_once_whatever_fails(steps):
    windows, now, done = ScanWindows(NOW), NOW, []
    for wait, works in steps:
        now += wait
        windows.advance(now)
        window = windows.next_settled()
        if window is not None and works:
            done.append(window)
            windows.read(window)
    while window := windows.next_settled():
        done.append(window)
        windows.read(window)
    done.sort()
    assert [each.after for each in done[1:]] == [each.until for each in done[:-1]]
    assert not done or done[0].after == NOW
