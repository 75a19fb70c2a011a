"""Files of predictions whose data is kept for ever: their URLs are made anew whenever they are shown. Pure.

A URL of a file expires a day after it was made. What shows an old prediction shows fresh ones, the same all day, so
that browsers need not fetch the same bytes under many names.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw

from tidemill.contracts.api.predictions import Prediction
from tidemill.security.delivery_urls import IGNORE_EXPIRY, PATH, delivery_url, find_object_key

DAY_S: Final = 86_400
RENEW_AFTER_S: Final = DAY_S / 2  # the URLs that the worker made are good for a day
_MARK: Final = PATH.encode()


class UrlRenewer:
    """Makes URLs with `key` under `public_url` that are good for one to two days from `now` (unix seconds) on."""

    def __init__(self, key: bytes, public_url: str, now: float) -> None:
        self._key = key
        self._public_url = public_url
        self._expires_at = (int(now) // DAY_S + 2) * DAY_S

    def prediction(self, prediction: Prediction) -> Prediction:
        """Changes the prediction in place. Only URLs of its own files: a model may put any text into its output, an
        expired URL of somebody else's file too.
        """
        own = f"outputs/{prediction.id}/"
        prediction.output = self.raw(prediction.output, own)
        prediction.input = self.raw(prediction.input, own)
        return prediction

    def raw(self, raw: Raw, own: str) -> Raw:
        """`own` is what the keys of the files begin with whose URLs are renewed."""
        text = bytes(raw)
        return Raw(msgspec.json.encode(self.value(msgspec.json.decode(text), own))) if _MARK in text else raw

    def value(self, value: Any, own: str) -> Any:
        if isinstance(value, str):
            return self.text(value, own)
        if isinstance(value, list):
            return [self.value(item, own) for item in value]
        if isinstance(value, dict):
            return {key: self.value(item, own) for key, item in value.items()}
        return value

    def text(self, text: str, own: str) -> str:
        """A new URL for one of ours, though it may have expired, or was made when the API had another address."""
        key = find_object_key([self._key], text, IGNORE_EXPIRY)
        return text if key is None or not key.startswith(own) else self.url(key)

    def url(self, key: str) -> str:
        return delivery_url(self._key, self._public_url, key, self._expires_at)
