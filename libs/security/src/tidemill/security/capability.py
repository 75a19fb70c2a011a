"""Signed capabilities: strings in URLs that grant access to one thing to any holder, until they expire.

Used for stream URLs, delivery URLs and file downloads, which clients open without a token. A capability is signed, not
encrypted: its holder can read the value, so it must not contain anything confidential.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence

KEY_MIN_BYTES = 32  # the length of the hash: shorter keys weaken HMAC-SHA256
KEY_ID_BYTES = 2  # identifies the key during a rotation; a collision costs only one more HMAC
EXPIRY_BYTES = 5  # unix seconds until the year 36812
MAC_BYTES = 16  # 128 bits cannot be guessed online, and keep URLs short
MAX_VALUE_BYTES = 1024  # a capability contains a name, not data; keeps URLs below the common limit of 2 kB

_VERSION = b"\x01"
_HEAD_BYTES = len(_VERSION) + KEY_ID_BYTES + EXPIRY_BYTES
_MAX_TOKEN_CHARS = ((_HEAD_BYTES + MAX_VALUE_BYTES + MAC_BYTES) * 8 + 4) // 5
_MAX_KIND_BYTES = 255  # its length is one byte of the signed text


class InvalidCapability(Exception):  # noqa: N818 -- named after the situation
    """The capability is malformed, forged, of another kind, or expired."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid capability: {reason}")
        self.reason = reason


def sign(key: bytes, kind: str, value: str, expires_at: int) -> str:
    """Return a token of lower-case letters and digits 2 to 7, which is safe in URLs, file names, host names and markup.

    `expires_at` is in unix seconds; the token is invalid from that second on.
    """
    raw = value.encode()
    if len(raw) > MAX_VALUE_BYTES:
        raise ValueError(f"the value of a capability is at most {MAX_VALUE_BYTES} bytes")
    payload = _VERSION + _key_id(key) + expires_at.to_bytes(EXPIRY_BYTES, "big") + raw
    return _encode(payload + _mac(key, kind, payload))


def verify(keys: Sequence[bytes], kind: str, token: str, now: float) -> str:
    """Return the signed value. Raise InvalidCapability. `keys`: the current key, and older ones that are still
    accepted.
    """
    raw = _decode(token)
    payload, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
    key_id = payload[len(_VERSION) : len(_VERSION) + KEY_ID_BYTES]
    candidates = [key for key in keys if _key_id(key) == key_id]
    if not any(hmac.compare_digest(_mac(key, kind, payload), mac) for key in candidates):
        raise InvalidCapability("not signed by us for this purpose")
    if now >= int.from_bytes(payload[_HEAD_BYTES - EXPIRY_BYTES : _HEAD_BYTES], "big"):
        raise InvalidCapability("expired")
    return payload[_HEAD_BYTES:].decode()


def sign_download(secret: bytes, owner: str, file_id: str, expiry: int) -> str:
    """Return Replicate's signature for `/files/{id}/download?owner=&expiry=&signature=`.

    It is base64 of HMAC-SHA256 over `"{owner} {id} {expiry}"` with the account's files secret. It may contain `+` and
    `/`: quote it in a URL.
    """
    if " " in owner or " " in file_id:
        raise ValueError("spaces separate the signed parts")
    return base64.b64encode(hmac.digest(secret, f"{owner} {file_id} {expiry}".encode(), "sha256")).decode()


def verify_download(
    secrets: Sequence[bytes], owner: str, file_id: str, expiry: int, *, signature: str, now: float
) -> bool:
    """Return whether the download is signed with one of the account's secrets and has not expired."""
    if " " in owner or " " in file_id or now >= expiry:
        return False
    # Clients that do not quote the signature send a plus, which a query string decodes as a space.
    given = signature.replace(" ", "+").encode()
    expected = (sign_download(secret, owner, file_id, expiry).encode() for secret in secrets)
    return any(hmac.compare_digest(given, each) for each in expected)


def _mac(key: bytes, kind: str, payload: bytes) -> bytes:
    raw = kind.encode()
    if not 0 < len(raw) <= _MAX_KIND_BYTES:
        raise ValueError(f"a kind has 1 to {_MAX_KIND_BYTES} bytes")
    return hmac.digest(key, bytes([len(raw)]) + raw + payload, "sha256")[:MAC_BYTES]


def _key_id(key: bytes) -> bytes:
    if len(key) < KEY_MIN_BYTES:
        raise ValueError(f"a capability key has at least {KEY_MIN_BYTES} bytes")
    return hmac.digest(key, b"tidemill capability key id", "sha256")[:KEY_ID_BYTES]


def _encode(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


def _decode(token: str) -> bytes:
    if not token.isascii() or len(token) > _MAX_TOKEN_CHARS:
        raise InvalidCapability("malformed")
    try:
        raw = base64.b32decode(token.upper() + "=" * (-len(token) % 8))
    except binascii.Error:
        raise InvalidCapability("malformed") from None
    # Each capability has exactly one spelling: unused bits, capitals and padding are refused.
    if _encode(raw) != token or len(raw) < _HEAD_BYTES + MAC_BYTES or not raw.startswith(_VERSION):
        raise InvalidCapability("malformed")
    return raw
