"""Signed capabilities: strings in URLs that grant one thing to whoever holds them, until they expire.

Used for stream URLs, delivery URLs and file downloads, which clients open without a token. A capability is
authentic, not secret: its value can be read by its holder, so nothing confidential may be sealed in one.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence

KEY_MIN_BYTES = 32  # as long as the hash: shorter keys weaken HMAC-SHA256
KEY_ID_BYTES = 2  # tells keys apart during a rotation; a collision only costs one more HMAC
EXPIRY_BYTES = 5  # unix seconds until the year 36812
MAC_BYTES = 16  # 128 bits cannot be forged online, and keep URLs short
MAX_VALUE_BYTES = 1024  # a capability names a thing, it does not carry it; keeps URLs under common 2 kB limits

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
    """A token of lower-case letters and the digits 2 to 7 only, so that no URL, file name, host name, markup or
    double click breaks it. `expires_at` is in unix seconds; at that second the token is no longer valid.
    """
    raw = value.encode()
    if len(raw) > MAX_VALUE_BYTES:
        raise ValueError(f"the value of a capability is at most {MAX_VALUE_BYTES} bytes")
    payload = _VERSION + _key_id(key) + expires_at.to_bytes(EXPIRY_BYTES, "big") + raw
    return _encode(payload + _mac(key, kind, payload))


def verify(keys: Sequence[bytes], kind: str, token: str, now: float) -> str:
    """The sealed value. `keys` are all that may have signed: the present one and those being retired."""
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
    """Replicate's signature of `/files/{id}/download?owner=&expiry=&signature=`: base64 of HMAC-SHA256 over
    `"{owner} {id} {expiry}"` with the account's files secret. It holds `+` and `/`: quote it in a URL.
    """
    if " " in owner or " " in file_id:
        raise ValueError("spaces separate the signed parts")
    return base64.b64encode(hmac.digest(secret, f"{owner} {file_id} {expiry}".encode(), "sha256")).decode()


def verify_download(
    secrets: Sequence[bytes], owner: str, file_id: str, expiry: int, *, signature: str, now: float
) -> bool:
    """Whether the download is signed with one of the account's secrets and not expired."""
    if " " in owner or " " in file_id or now >= expiry:
        return False
    # Clients that forget to quote the signature send a plus, which a query string turns into a space.
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
    # One capability has one spelling: unused bits, capitals and padding are refused.
    if _encode(raw) != token or len(raw) < _HEAD_BYTES + MAC_BYTES or not raw.startswith(_VERSION):
        raise InvalidCapability("malformed")
    return raw
