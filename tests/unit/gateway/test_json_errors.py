"""The error for an invalid JSON body names the reason correctly."""

import msgspec
import pytest

from tidemill.gateway import json_errors


def told(body):
    with pytest.raises(msgspec.DecodeError) as failed:
        msgspec.json.decode(body)
    return json_errors.reason(body, failed.value)


@pytest.mark.parametrize(
    ("body", "escape", "at"),
    [
        (rb'{"a":"\ud83d"}', r"\ud83d", 6),
        (rb'{"a":"\ud83d cut amid an emoji"}', r"\ud83d", 6),
        (rb'{"a":"\ud83d\u0041"}', r"\ud83d", 6),
        (rb'{"a":"\uDC00"}', r"\uDC00", 6),
        (rb'{"a":"\ud83d\ud83d\ude00"}', r"\ud83d", 6),
        (rb'{"a":"\ud83d\ude00\ude00"}', r"\ude00", 18),
        (rb'{"a":"\\\ud83d"}', r"\ud83d", 8),
        (rb'{"\ud83d":1}', r"\ud83d", 2),
        (rb'{"a":"' + rb"\ud83d\ude00" * 100 + rb'\ud83d", "b": "' + b"x" * 500 + b'"}', r"\ud83d", 1206),
    ],
)
def test_half_an_emoji_is_called_that(body, escape, at):
    assert told(body) == f"{escape} at byte {at} is half of a character (a lone surrogate), which no text can hold"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a": "x', "truncated"),
        (rb'{"a":"\ud83d\ude00', "truncated"),
        (rb'{"a": "\\ud83d', "truncated"),
        (b"{", "truncated"),
        (b'{"a": x}', "malformed"),
    ],
)
def test_what_is_otherwise_wrong_keeps_its_words(body, words):
    assert words in told(body)


@pytest.mark.parametrize("text", ["\U0001f600", "\\ud83d", "a\\"])
def test_whole_characters_and_backslashes_are_fine(text):
    for body in (msgspec.json.encode(text), f'"{text}"'.encode() if "\\" not in text else b'"x"'):
        msgspec.json.decode(body)
