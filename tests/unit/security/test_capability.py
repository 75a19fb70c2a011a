import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.security.capability import (
    MAX_VALUE_BYTES,
    InvalidCapability,
    sign,
    sign_download,
    verify,
    verify_download,
)

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
VALUE = "01hzx5y3v9k2m4n6p8q0r1s2t3"
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


@given(st.text(max_size=200), st.text(min_size=1, max_size=20), st.integers(1, 2**40 - 1))
def test_what_is_sealed_opens_until_it_expires(value: str, kind: str, expires_at: int) -> None:
    token = sign(KEY, kind, value, expires_at)
    assert re.fullmatch("[a-z2-7]+", token)
    assert verify([KEY], kind, token, expires_at - 1) == value
    with pytest.raises(InvalidCapability, match="expired"):
        verify([KEY], kind, token, expires_at)


@given(st.data())
def test_any_one_changed_character_is_noticed(data: st.DataObject) -> None:
    token = sign(KEY, "stream", VALUE, 100)
    at = data.draw(st.integers(0, len(token) - 1))
    char = data.draw(st.sampled_from(ALPHABET).filter(lambda each: each != token[at]))
    with pytest.raises(InvalidCapability):
        verify([KEY], "stream", token[:at] + char + token[at + 1 :], 1)


def test_a_token_of_one_kind_is_none_of_another() -> None:
    token = sign(KEY, "stream", VALUE, 100)
    with pytest.raises(InvalidCapability):
        verify([KEY], "delivery", token, 1)


def test_kind_and_value_do_not_run_into_each_other() -> None:
    with pytest.raises(InvalidCapability):
        verify([KEY], "streamx", sign(KEY, "stream", "x", 100), 1)


def test_keys_rotate() -> None:
    old = sign(OTHER_KEY, "stream", VALUE, 100)
    assert verify([KEY, OTHER_KEY], "stream", old, 1) == VALUE
    for keys in ([KEY], []):
        with pytest.raises(InvalidCapability):
            verify(keys, "stream", old, 1)


def test_a_key_with_the_same_id_does_not_open_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemill.security.capability._key_id", lambda key: b"id")
    token = sign(KEY, "stream", VALUE, 100)
    assert verify([OTHER_KEY, KEY], "stream", token, 1) == VALUE
    with pytest.raises(InvalidCapability):
        verify([OTHER_KEY], "stream", token, 1)


@pytest.mark.parametrize("change", [str.upper, lambda t: t + "=", lambda t: t[:-1], lambda t: t + "a", lambda t: ""])
def test_one_capability_has_one_spelling(change: Callable[[str], str]) -> None:
    with pytest.raises(InvalidCapability):
        verify([KEY], "stream", change(sign(KEY, "stream", VALUE, 100)), 1)


def test_unused_bits_must_be_zero() -> None:
    token = sign(KEY, "stream", "vv", 100)  # 26 bytes: the last of its 42 characters has two unused bits
    twin = token[:-1] + ALPHABET[ALPHABET.index(token[-1]) + 1]
    assert base64.b32decode(twin.upper() + "=" * (-len(twin) % 8)) == base64.b32decode(
        token.upper() + "=" * (-len(token) % 8)
    )
    with pytest.raises(InvalidCapability):
        verify([KEY], "stream", twin, 1)


@given(st.one_of(st.text(), st.text(ALPHABET)))
def test_garbage_is_refused_and_nothing_else_is_raised(text: str) -> None:
    with pytest.raises(InvalidCapability):
        verify([KEY], "stream", text, 1)


def test_a_huge_token_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(InvalidCapability, match="malformed"):
        verify([KEY], "stream", "a" * 10_000_000, 1)


def test_limits_of_value_and_key() -> None:
    largest = "v" * MAX_VALUE_BYTES
    assert verify([KEY], "stream", sign(KEY, "stream", largest, 100), 1) == largest
    with pytest.raises(ValueError):
        sign(KEY, "stream", largest + "v", 100)
    with pytest.raises(ValueError):
        sign(b"short", "stream", VALUE, 100)
    with pytest.raises(ValueError):
        sign(KEY, "", VALUE, 100)


def test_a_stream_token_is_short() -> None:
    assert len(sign(KEY, "stream", VALUE, 2_000_000_000)) == 80


def test_the_download_signature_is_replicates() -> None:
    expected = base64.b64encode(hmac.new(b"secret", b"acme file1 1700000000", hashlib.sha256).digest()).decode()
    assert sign_download(b"secret", "acme", "file1", 1_700_000_000) == expected


def test_a_download_is_verified_with_any_of_the_secrets_until_it_expires() -> None:
    signature = sign_download(b"old", "acme", "file1", 100)
    verdicts = [
        verify_download([b"new", b"old"], "acme", "file1", 100, signature=signature, now=99),
        verify_download([b"new"], "acme", "file1", 100, signature=signature, now=99),
        verify_download([b"old"], "acme", "file1", 100, signature=signature, now=100),
        verify_download([b"old"], "acme", "file2", 100, signature=signature, now=99),
        verify_download([b"old"], "evil", "file1", 100, signature=signature, now=99),
        verify_download([b"old"], "acme", "file1", 101, signature=signature, now=99),
        verify_download([b"old"], "acme", "file1", 100, signature="é", now=99),
    ]
    assert verdicts == [True, False, False, False, False, False, False]


def test_an_unquoted_plus_in_the_query_is_forgiven() -> None:
    signatures = [sign_download(b"s", "acme", f"file{n}", 100) for n in range(50)]
    n, signature = next((n, each) for n, each in enumerate(signatures) if "+" in each)
    unquoted = parse_qs(f"signature={signature}")["signature"][0]
    quoted = parse_qs(urlencode({"signature": signature}))["signature"][0]
    for given_signature in (unquoted, quoted):
        assert verify_download([b"s"], "acme", f"file{n}", 100, signature=given_signature, now=1)


def test_spaces_cannot_move_between_owner_and_id() -> None:
    with pytest.raises(ValueError):
        sign_download(b"s", "a b", "c", 100)
    signature = base64.b64encode(hmac.new(b"s", b"a b c 100", hashlib.sha256).digest()).decode()
    assert not verify_download([b"s"], "a", "b c", 100, signature=signature, now=1)
    assert not verify_download([b"s"], "a b", "c", 100, signature=signature, now=1)
