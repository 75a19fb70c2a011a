"""Identifiers: 26 characters of lower-case Crockford base32.

Ten characters of milliseconds since 1970 make ids sort by time, those of one process strictly; the other 16 are 80 bits
of which at least 64 are random, so that knowing one id helps nobody to guess another.
"""

import secrets
import time
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
ID_LENGTH_CHARS: Final = 26
_PAIRS: Final = tuple(a + b for a in ALPHABET for b in ALPHABET)  # ten bits a look-up halves the work


class _Clock:
    """The moment and the random bits of the last id, so that ids of one process sort in the order they were made."""

    def __init__(self) -> None:
        self.ms, self.bits = 0, 0

    def tick(self) -> tuple[int, int]:
        ms = time.time_ns() // 1_000_000
        if ms > self.ms:
            self.ms, self.bits = ms, secrets.randbits(79)
        else:  # the same millisecond, or a clock set back: a random step up tells as little as a random number
            self.bits += secrets.randbits(64) + 1
        return self.ms, self.bits


_CLOCK: Final = _Clock()


def new_id() -> str:
    return id_at(*_CLOCK.tick())


def id_at(ms: int, random_bits: int) -> str:
    """The id of a moment (ms since 1970, below 2**48) and 80 random bits."""
    n = (ms << 80) | random_bits
    return "".join([_PAIRS[(n >> shift) & 1023] for shift in range(120, -1, -10)])


def is_id(text: str) -> bool:
    return len(text) == ID_LENGTH_CHARS and all(char in ALPHABET for char in text)
