"""Fresh URLs for files of old predictions. Pure.

A file URL expires a day after it was made. A response with an older prediction gets new ones; they stay the same for a
day, so that browsers can cache the files.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw

from tidemill.contracts.api.predictions import Prediction
from tidemill.security.delivery_urls import IGNORE_EXPIRY, PATH, delivery_url, find_object_key

DAY_S: Final = 86_400
RENEW_AFTER_S: Final = DAY_S / 2  # URLs made by the worker are valid for a day
_MARK: Final = PATH.encode()


class UrlRenewer:
    """Makes URLs with `key` under `public_url` that are valid for one to two days from `now` (unix seconds) on."""

    def __init__(self, key: bytes, public_url: str, now: float) -> None:
        self._key = key
        self._public_url = public_url
        self._expires_at = (int(now) // DAY_S + 2) * DAY_S

    def prediction(self, prediction: Prediction) -> Prediction:
        """Renew the URLs in place, those of the prediction's own files only: a model can put any text into its output,
        also an expired URL of another account's file.
        """
        own = f"outputs/{prediction.id}/"
        prediction.output = self.raw(prediction.output, own)
        prediction.input = self.raw(prediction.input, own)
        return prediction

    def raw(self, raw: Raw, own: str) -> Raw:
        """Renew the URLs of files whose keys begin with `own`."""
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
        """Return a new URL for one of ours, even if it has expired or has another host; return other text unchanged."""
        key = find_object_key([self._key], text, IGNORE_EXPIRY)
        return text if key is None or not key.startswith(own) else self.url(key)

    def url(self, key: str) -> str:
        return delivery_url(self._key, self._public_url, key, self._expires_at)
