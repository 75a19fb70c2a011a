import hashlib
import string
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.security import tokens


def test_a_new_token_has_replicates_shape_and_passes_its_own_check() -> None:
    made = {tokens.new_token() for _ in range(200)}
    assert len(made) == 200
    for token in made:
        assert len(token) == 40
        assert token.startswith("r8_")
        assert token[3:].isalnum()
        assert tokens.is_well_formed(token)


def test_the_checksum_is_the_base62_crc32_of_the_rest() -> None:
    token = tokens.new_token()
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    value = 0
    for char in token[-6:]:
        value = value * 62 + alphabet.index(char)
    assert value == zlib.crc32(token[:-6].encode())


@given(st.integers(3, 39), st.sampled_from(tokens.BASE62))
def test_any_one_changed_character_is_noticed(at: int, char: str) -> None:
    token = "r8_" + "a" * 31
    token += tokens._checksum(token)
    changed = token[:at] + char + token[at + 1 :]
    assert tokens.is_well_formed(changed) == (changed == token)


@pytest.mark.parametrize(
    "text",
    ["", "r8_", "r8_" + "a" * 37, "r9_" + "a" * 37, "r8_" + "a" * 36 + "é", "x" * 1_000_000, "r8_" + "\u0661" * 37],
)
def test_garbage_is_rejected(text: str) -> None:
    assert not tokens.is_well_formed(text)


def test_whitespace_around_a_token_is_rejected() -> None:
    token = tokens.new_token()
    assert not tokens.is_well_formed(token + "\n")
    assert not tokens.is_well_formed(" " + token)


@given(st.text())
def test_any_text_can_be_judged(text: str) -> None:
    tokens.is_well_formed(text)


def test_what_is_stored_and_shown() -> None:
    token = tokens.new_token()
    assert tokens.digest(token) == hashlib.sha256(token.encode()).digest()
    assert tokens.last4(token) == token[-4:]
