from hypothesis import given
from hypothesis import strategies as st

from tidemill.storage_janitor.pace import (
    SETTLED_AFTER_S,
    SLICE_FIRST_S,
    SLICE_LIMIT_S,
    next_slice_s,
    next_stretch,
)

NOW = 1_790_000_000.0


def test_nothing_is_read_before_its_retention_is_over():
    assert next_stretch(NOW - 3600, NOW, 3600, 10) is None
    assert next_stretch(NOW - 3601, NOW, 3600, 10) == (NOW - 3601, NOW - 3600)


def test_nothing_is_read_that_may_not_be_visible_yet():
    assert next_stretch(NOW - SETTLED_AFTER_S, NOW, 0, 10) is None


@given(st.floats(0, 1e6), st.lists(st.integers(0, 100_000), max_size=60))
def test_stretches_follow_one_another_without_a_gap_and_stay_bounded(length, rows):
    reached, slice_s = NOW - 3600 - length, SLICE_FIRST_S
    for count in rows:
        stretch = next_stretch(reached, NOW, 3600, slice_s)
        if stretch is None:
            assert reached >= NOW - 3600
            return
        assert stretch.after == reached < stretch.until <= NOW - 3600
        assert stretch.until - stretch.after <= SLICE_LIMIT_S + 1e-3
        reached, slice_s = stretch.until, next_slice_s(slice_s, count)


def test_quiet_times_pass_quickly_and_busy_ones_carefully():
    slice_s = SLICE_FIRST_S
    for _ in range(20):
        slice_s = next_slice_s(slice_s, 0)
    assert slice_s == SLICE_LIMIT_S
    assert next_slice_s(slice_s, 10_000) == SLICE_FIRST_S
