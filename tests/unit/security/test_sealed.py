"""Secrets at rest: opened in their place with their key, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.security import sealed

KEY, OTHER = b"\x5a" * 32, b"\x5b" * 32
PLACE = sealed.place("01model", "HF_TOKEN")


@given(st.text())
def test_what_is_sealed_opens(text):
    assert sealed.open_(KEY, PLACE, sealed.seal(KEY, PLACE, text)) == text


def test_the_same_secret_never_looks_the_same_and_never_shows():
    first, second = (sealed.seal(KEY, PLACE, "correct horse") for _ in range(2))
    assert first != second
    assert b"correct" not in first


@pytest.mark.parametrize(
    ("key", "place"), [(OTHER, PLACE), (KEY, sealed.place("01model", "OTHER")), (KEY, sealed.place("02", "HF_TOKEN"))]
)
def test_another_key_or_place_opens_nothing(key, place):
    with pytest.raises(sealed.CannotOpen):
        sealed.open_(key, place, sealed.seal(KEY, PLACE, "correct horse"))


@given(st.data())
def test_a_changed_byte_opens_nothing(data):
    kept = bytearray(sealed.seal(KEY, PLACE, "correct horse"))
    kept[data.draw(st.integers(0, len(kept) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(sealed.CannotOpen):
        sealed.open_(KEY, PLACE, bytes(kept))


@given(st.binary(max_size=64))
def test_garbage_opens_nothing(kept):
    with pytest.raises(sealed.CannotOpen):
        sealed.open_(KEY, PLACE, kept)
