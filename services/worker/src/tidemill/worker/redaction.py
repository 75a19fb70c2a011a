"""Takes a model's secrets out of what its process says in logs and errors. Pure.

A model that wants to give its own secrets away can; this keeps them out of logs when it does so by accident. Outputs
are its results and stay as they are.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from tidemill.contracts.api_secrets import SECRET_MINIMUM_CHARS
from tidemill.hosting.frames import Done, Failed, Log, decode

MARK: Final = "[secret]"
_encode: Final = msgspec.json.Encoder().encode


class Redactor:
    """For the secrets of one instance; each line of one that has several counts for itself, as loggers print lines."""

    def __init__(self, secrets: Iterable[str]) -> None:
        found = {part.strip() for value in secrets for part in (value, *value.splitlines())}
        # The longest first: one may be a part of another.
        self._values = sorted((each for each in found if len(each) >= SECRET_MINIMUM_CHARS), key=len, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._values)

    def text(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, MARK)
        return text

    def log_bytes(self, data: bytes) -> bytes:
        for value in self._values:
            data = data.replace(value.encode(), MARK.encode())
        return data

    def frame(self, body: bytes) -> bytes:
        """A frame's body as it may go on. Raises as `decode` for what is no frame."""
        frame = decode(body)
        if isinstance(frame, Log):
            return self._again(body, frame.text, lambda text: Log(frame.id, text))
        if isinstance(frame, Failed):
            return self._again(body, frame.error, lambda text: Failed(text, frame.kind))
        if isinstance(frame, Done) and frame.error is not None:
            return self._again(body, frame.error, lambda text: msgspec.structs.replace(frame, error=text))
        return body

    def _again(self, body: bytes, text: str, make: Callable[[str], msgspec.Struct]) -> bytes:
        cleaned = self.text(text)
        return body if cleaned == text else _encode(make(cleaned))
