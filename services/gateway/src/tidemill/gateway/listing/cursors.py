"""Pagination cursors: opaque to clients, signed, and bound to the list and the account. Pure."""

import base64
import binascii
import hmac
from typing import Literal, NamedTuple

import msgspec

from tidemill.contracts.errors import Problem

SIGNATURE_BYTES = 12


class Cursor(NamedTuple):
    """Continue after the item with the id `position`, in this direction."""

    direction: Literal["next", "previous"]
    position: str


def seal(key: bytes, scope: str, cursor: Cursor) -> str:
    """`scope` names the list and the account: the cursor is invalid for any other."""
    payload = msgspec.json.encode(cursor)
    return base64.urlsafe_b64encode(_sign(key, scope, payload) + payload).decode().rstrip("=")


def unseal(key: bytes, scope: str, text: str) -> Cursor:
    """Return the cursor. Raise a 400 problem for a text that `seal` did not make for this scope."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        payload = raw[SIGNATURE_BYTES:]
        if not hmac.compare_digest(raw[:SIGNATURE_BYTES], _sign(key, scope, payload)):
            raise _invalid()
        return msgspec.json.decode(payload, type=Cursor)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise _invalid() from None


def comparison(cursor: Cursor | None) -> tuple[str, str, str]:
    """Return (comparison operator, order, position) for SQL over an id column."""
    if cursor is None:
        return "<", "DESC", "~"  # sorts after every id
    return ("<", "DESC", cursor.position) if cursor.direction == "next" else (">", "ASC", cursor.position)


def _sign(key: bytes, scope: str, payload: bytes) -> bytes:
    return hmac.digest(key, f"cursor\0{scope}\0".encode() + payload, "sha256")[:SIGNATURE_BYTES]


def _invalid() -> Problem:
    return Problem(400, "Invalid cursor")
