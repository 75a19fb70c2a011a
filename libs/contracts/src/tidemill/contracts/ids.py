"""Identifiers: 26 characters of lower-case Crockford base32.

The first ten characters are milliseconds since 1970, so ids sort by time, strictly within one process. The other 16 are
80 bits, at least 64 of them random, so that one id does not help to guess another.
"""

import secrets
import time
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
ID_LENGTH_CHARS: Final = 26
_PAIRS: Final = tuple(a + b for a in ALPHABET for b in ALPHABET)  # ten bits per look-up halve the work


class _LastId:
    """The time and random bits of the last id, so that ids of one process sort in the order of their creation."""

    def __init__(self) -> None:
        self.ms, self.bits = 0, 0

    def advance(self) -> tuple[int, int]:
        ms = time.time_ns() // 1_000_000
        if ms > self.ms:
            self.ms, self.bits = ms, secrets.randbits(79)
        else:  # the same millisecond, or a clock set back: a random increment is as hard to guess as a random number
            self.bits += secrets.randbits(64) + 1
        return self.ms, self.bits


_LAST: Final = _LastId()


def new_id() -> str:
    return id_at(*_LAST.advance())


def id_at(ms: int, random_bits: int) -> str:
    """Return the id of a time (ms since 1970, below 2**48) and 80 random bits."""
    n = (ms << 80) | random_bits
    return "".join([_PAIRS[(n >> shift) & 1023] for shift in range(120, -1, -10)])


def is_id(text: str) -> bool:
    return len(text) == ID_LENGTH_CHARS and all(char in ALPHABET for char in text)
