"""Secrets at rest: opened in their place with their key, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.security import secret_encryption

KEY, OTHER = b"\x5a" * 32, b"\x5b" * 32
PLACE = secret_encryption.associated_data("01model", "HF_TOKEN")


@given(st.text())
def test_what_is_sealed_opens(text):
    assert secret_encryption.decrypt(KEY, PLACE, secret_encryption.encrypt(KEY, PLACE, text)) == text


def test_the_same_secret_never_looks_the_same_and_never_shows():
    first, second = (secret_encryption.encrypt(KEY, PLACE, "correct horse") for _ in range(2))
    assert first != second
    assert b"correct" not in first


@pytest.mark.parametrize(
    ("key", "place"),
    [
        (OTHER, PLACE),
        (KEY, secret_encryption.associated_data("01model", "OTHER")),
        (KEY, secret_encryption.associated_data("02", "HF_TOKEN")),
    ],
)
def test_another_key_or_place_opens_nothing(key, place):
    with pytest.raises(secret_encryption.CannotDecrypt):
        secret_encryption.decrypt(key, place, secret_encryption.encrypt(KEY, PLACE, "correct horse"))


@given(st.data())
def test_a_changed_byte_opens_nothing(data):
    kept = bytearray(secret_encryption.encrypt(KEY, PLACE, "correct horse"))
    kept[data.draw(st.integers(0, len(kept) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(secret_encryption.CannotDecrypt):
        secret_encryption.decrypt(KEY, PLACE, bytes(kept))


@given(st.binary(max_size=64))
def test_garbage_opens_nothing(kept):
    with pytest.raises(secret_encryption.CannotDecrypt):
        secret_encryption.decrypt(KEY, PLACE, kept)
