"""What accounts may hold of a stream that is nearly full."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.runtime.streams.account_shares import cuts
from tidemill.storage_janitor import fair_shares

MIB = 1024 * 1024
HELD = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(1, 1e9), min_size=1, max_size=30)


def test_nothing_is_due_before_the_stream_is_nearly_full():
    assert not fair_shares.needs_trim(700, 1000)
    assert fair_shares.needs_trim(760, 1000)
    assert not fair_shares.needs_trim(10**12, -1)  # no limit at all


def test_one_heavy_account_takes_room_from_nobody():
    held = {"heavy": 740 * MIB, **{f"light{n}": 2 * MIB for n in range(10)}}
    kept = fair_shares.kept_fractions(held, 1000 * MIB)
    assert list(kept) == ["heavy"]
    assert kept["heavy"] * held["heavy"] == pytest.approx((650 - 20) * MIB)


def test_several_heavy_ones_share_what_the_others_leave():
    held = {"a": 500.0, "b": 400.0, "c": 50.0}
    kept = fair_shares.kept_fractions(held, 1000)
    assert {account: part * held[account] for account, part in kept.items()} == {"a": 300.0, "b": 300.0}


@given(HELD, st.floats(1, 1e9))
def test_after_it_all_fit_and_whoever_held_less_than_an_equal_share_has_it_still(held, room):
    share = fair_shares.fair_share(held.values(), room)
    left = {account: min(each, share) for account, each in held.items()}
    assert sum(left.values()) <= room * 1.000001 or share == float("inf")
    for account, each in held.items():
        if each <= room / len(held):
            assert left[account] == each


@given(HELD)
def test_room_is_used(held):
    """Nobody loses anything that there is room for."""
    room = sum(held.values()) * 0.6
    share = fair_shares.fair_share(held.values(), room)
    assert sum(min(each, share) for each in held.values()) == pytest.approx(room)


def test_sizes_are_estimated_from_numbers_and_samples_and_add_up():
    counts, samples = {"small": 900, "large": 100, "unseen": 10}, {"small": [100, 100], "large": [900, 1100]}
    sizes = fair_shares.estimate_sizes(counts, samples, 200_000)
    assert sum(sizes.values()) == pytest.approx(200_000)
    assert sizes["large"] / sizes["small"] == pytest.approx(100 * 1000 / (900 * 100))
    assert sizes["unseen"] / sizes["small"] == pytest.approx(10 * 550 / (900 * 100))
    assert fair_shares.estimate_sizes({}, {}, 0) == {}


def test_what_a_consumer_lacks_is_purged_apart_from_what_it_had():
    assert cuts([0, 10, 20, 20, 99], 50) == [11, 21, 50]
    assert cuts([], 50) == [50]
    assert cuts([49], 50) == [50]
