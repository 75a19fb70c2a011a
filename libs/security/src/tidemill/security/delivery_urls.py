"""Delivery URLs: clients fetch output files with them, without a token, until the URL expires.

The URL contains the object's key in a signed capability, so no table is read and no other object can be requested.
"""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from tidemill.security import capability
from tidemill.security.capability import InvalidCapability

KIND = "delivery"
PATH = "/v1/delivery/"
IGNORE_EXPIRY: Final = 0.0  # a time before every expiry
_MARK: Final = PATH.encode()


def delivery_url(signing_key: bytes, public_url: str, object_key: str, expires_at: int) -> str:
    """Return the URL of an object until `expires_at` (unix seconds). It ends with the object's name, for its suffix."""
    token = capability.sign(signing_key, KIND, object_key, expires_at)
    return f"{public_url.rstrip('/')}{PATH}{token}/{quote(object_key.rpartition('/')[2])}"


def object_key_of_url(keys: Sequence[bytes], url: str, now: float) -> str:
    """Return the object's key in a URL on any base. Raise InvalidCapability."""
    return object_key_of_token(keys, url.partition(PATH)[2].partition("/")[0], now)


def object_key_of_token(keys: Sequence[bytes], token: str, now: float) -> str:
    """Return the object's key in a token. Raise InvalidCapability."""
    return capability.verify(keys, KIND, token, now)


def find_object_key(keys: Sequence[bytes], text: str, now: float) -> str | None:
    """Return the object's key in a delivery URL that we signed, on any base, or None for any other text."""
    base, mark, _ = text.partition(PATH)
    if not mark or not base.startswith(("http://", "https://")):
        return None
    try:
        return object_key_of_url(keys, text, now)
    except InvalidCapability:
        return None


def rewrite_base(text: bytes, key: bytes, base: str) -> bytes:
    """Return the JSON with every delivery URL signed by `key` moved to `base`.

    A worker makes the URLs on one base for all clients, perhaps on one that is not listed any more.
    """
    marks = text.count(_MARK)
    if not marks or text.count(f'"{base}{PATH}'.encode()) == marks:
        return text
    return msgspec.json.encode(_on_base(msgspec.json.decode(text), key, base))


def rewrite_base_of_text(text: str, key: bytes, base: str) -> str:
    """Return the text, moved to `base` if it is a delivery URL signed by `key`."""
    if text.startswith(f"{base}{PATH}") or find_object_key([key], text, IGNORE_EXPIRY) is None:
        return text
    return f"{base}{text[text.index(PATH) :]}"


def _on_base(value: Any, key: bytes, base: str) -> Any:
    if isinstance(value, str):
        return rewrite_base_of_text(value, key, base)
    if isinstance(value, list):
        return [_on_base(item, key, base) for item in value]
    if isinstance(value, dict):
        return {name: _on_base(item, key, base) for name, item in value.items()}
    return value
