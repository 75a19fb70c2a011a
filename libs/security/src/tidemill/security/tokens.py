"""API tokens: their format, their creation, and what is stored of them.

A token is `r8_`, 31 random base62 characters and 6 characters of checksum, so that secret scanners and the gateway can
reject invalid ones without the database. The token itself must never be stored, only its digest and last four
characters.
"""

import hashlib
import re
import secrets
import string
import zlib

PREFIX = "r8_"
TOKEN_CHARS = 40  # as Replicate's, whose clients and secret scanners expect this length
CHECKSUM_CHARS = 6  # 62^6 > 2^32: the shortest that holds a CRC32
RANDOM_CHARS = TOKEN_CHARS - len(PREFIX) - CHECKSUM_CHARS  # 31 characters of base62 are 184 bits

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SHAPE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{TOKEN_CHARS - len(PREFIX)}}}")


def new_token() -> str:
    body = PREFIX + "".join(secrets.choice(BASE62) for _ in range(RANDOM_CHARS))
    return body + _checksum(body)


def is_well_formed(token: str) -> bool:
    """Return whether the format and the checksum are right; the token may still not exist."""
    if _SHAPE.fullmatch(token) is None:
        return False
    return _checksum(token[:-CHECKSUM_CHARS]) == token[-CHECKSUM_CHARS:]


def digest(token: str) -> bytes:
    """Return the 32 bytes that are stored. A plain hash is enough: 184 random bits cannot be guessed offline."""
    return hashlib.sha256(token.encode()).digest()


def last4(token: str) -> str:
    """Return what is shown of a token after its creation: 4 characters of the checksum, which reveal 24 of 184 bits."""
    return token[-4:]


def _checksum(body: str) -> str:
    rest = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_CHARS):
        rest, digit = divmod(rest, len(BASE62))
        digits.append(BASE62[digit])
    return "".join(reversed(digits))
