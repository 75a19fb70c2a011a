"""Delivery URLs: where clients fetch the files that models made, without a token, until the URL expires.

The object's key travels sealed in the URL, so no table is asked and nothing else can be asked for.
"""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from tidemill.security import capability
from tidemill.security.capability import InvalidCapability

KIND = "delivery"
PATH = "/v1/delivery/"
IGNORE_EXPIRY: Final = 0.0  # a moment at which no URL has expired
_MARK: Final = PATH.encode()


def delivery_url(signing_key: bytes, public_url: str, object_key: str, expires_at: int) -> str:
    """The URL of an object until `expires_at` (unix seconds). It ends with the object's name, which programs go by."""
    token = capability.sign(signing_key, KIND, object_key, expires_at)
    return f"{public_url.rstrip('/')}{PATH}{token}/{quote(object_key.rpartition('/')[2])}"


def object_key_of_url(keys: Sequence[bytes], url: str, now: float) -> str:
    """The object that a URL grants, on whichever base it is. Raises InvalidCapability."""
    return object_key_of_token(keys, url.partition(PATH)[2].partition("/")[0], now)


def object_key_of_token(keys: Sequence[bytes], token: str, now: float) -> str:
    """The object that a token grants. Raises InvalidCapability."""
    return capability.verify(keys, KIND, token, now)


def find_object_key(keys: Sequence[bytes], text: str, now: float) -> str | None:
    """The object behind a delivery URL that we have signed, on whichever base; None for any other text."""
    base, mark, _ = text.partition(PATH)
    if not mark or not base.startswith(("http://", "https://")):
        return None
    try:
        return object_key_of_url(keys, text, now)
    except InvalidCapability:
        return None


def rewrite_base(text: bytes, key: bytes, base: str) -> bytes:
    """JSON in which every delivery URL that `key` has signed is on `base`: a worker makes them on one for all clients,
    perhaps on one that is not listed any more.
    """
    marks = text.count(_MARK)
    if not marks or text.count(f'"{base}{PATH}'.encode()) == marks:
        return text
    return msgspec.json.encode(_on_base(msgspec.json.decode(text), key, base))


def rewrite_base_of_text(text: str, key: bytes, base: str) -> str:
    """The same of one text."""
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
