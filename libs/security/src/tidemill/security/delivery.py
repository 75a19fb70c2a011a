"""Delivery URLs: where clients fetch the files that models made, without a token, until the URL expires.

The object's key travels sealed in the URL, so no table is asked and nothing else can be asked for.
"""

from collections.abc import Sequence
from urllib.parse import quote

from tidemill.security import capability
from tidemill.security.capability import InvalidCapability

KIND = "delivery"
PATH = "/v1/delivery/"


def delivery_url(signing_key: bytes, public_url: str, object_key: str, expires_at: int) -> str:
    """The URL of an object until `expires_at` (unix seconds). It ends with the object's name, which programs go by."""
    token = capability.seal(signing_key, KIND, object_key, expires_at)
    return f"{_base(public_url)}{token}/{quote(object_key.rpartition('/')[2])}"


def is_delivery_url(public_url: str, text: str) -> bool:
    """Whether the text looks like a URL that `delivery_url` made; says nothing about whether it is genuine."""
    return text.startswith(_base(public_url))


def object_key_of_url(keys: Sequence[bytes], public_url: str, url: str, now: float) -> str:
    """The object that a whole URL grants. Raises InvalidCapability."""
    if not is_delivery_url(public_url, url):
        raise InvalidCapability("not a delivery URL of ours")
    return object_key_of_token(keys, url[len(_base(public_url)) :].partition("/")[0], now)


def object_key_of_token(keys: Sequence[bytes], token: str, now: float) -> str:
    """The object that a token grants. Raises InvalidCapability."""
    return capability.open_(keys, KIND, token, now)


def _base(public_url: str) -> str:
    return public_url.rstrip("/") + PATH
