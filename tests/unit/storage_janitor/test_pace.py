from hypothesis import given
from hypothesis import strategies as st

from tidemill.runtime.scan import SETTLED_AFTER_S
from tidemill.storage_janitor.pace import WINDOW_FIRST_S, WINDOW_LIMIT_S, next_length_s, next_window

NOW = 1_790_000_000.0


def test_nothing_is_read_before_its_retention_is_over():
    assert next_window(NOW - 3600, NOW, 3600, 10) is None
    assert next_window(NOW - 3601, NOW, 3600, 10) == (NOW - 3601, NOW - 3600)


def test_nothing_is_read_that_may_not_be_visible_yet():
    assert next_window(NOW - SETTLED_AFTER_S, NOW, 0, 10) is None


@given(st.floats(0, 1e6), st.lists(st.integers(0, 100_000), max_size=60))
def test_windows_follow_one_another_without_a_gap_and_stay_bounded(length, rows):
    watermark, length_s = NOW - 3600 - length, WINDOW_FIRST_S
    for count in rows:
        window = next_window(watermark, NOW, 3600, length_s)
        if window is None:
            assert watermark >= NOW - 3600
            return
        assert window.after == watermark < window.until <= NOW - 3600
        assert window.until - window.after <= WINDOW_LIMIT_S + 1e-3
        watermark, length_s = window.until, next_length_s(length_s, count)


def test_quiet_times_pass_quickly_and_busy_ones_carefully():
    length_s = WINDOW_FIRST_S
    for _ in range(20):
        length_s = next_length_s(length_s, 0)
    assert length_s == WINDOW_LIMIT_S
    assert next_length_s(length_s, 10_000) == WINDOW_FIRST_S
