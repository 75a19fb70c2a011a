"""Takes a model's secrets out of what its process says in logs and errors.

A model that wants to give its own secrets away can; this keeps them out of logs when it does so by accident. Outputs
are its results and stay as they are. Must never change what holds no secret.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from tidemill.contracts.api_secrets import SECRET_MINIMUM_CHARS
from tidemill.hosting.frames import Done, Failed, Health, Log, Ready, decode

MARK: Final = "[secret]"
_encode: Final = msgspec.json.Encoder().encode


class Redactor:
    """For the secrets of one instance; each line of one that has several counts for itself, as loggers print lines."""

    def __init__(self, secrets: Iterable[str]) -> None:
        found = {part.strip() for value in secrets for part in (value, *value.splitlines())}
        # The longest first: one may be a part of another.
        self._values = sorted((each for each in found if len(each) >= SECRET_MINIMUM_CHARS), key=len, reverse=True)
        self._encoded = [each.encode() for each in self._values]
        self._held = b""  # the end of what C code printed last: perhaps the beginning of a secret

    def __bool__(self) -> bool:
        return bool(self._values)

    def text(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, MARK)
        return text

    def log_bytes(self, data: bytes) -> bytes:
        """What may go on now of what came by the pipe: a secret may come in two pieces, where a buffer was full."""
        data = self._held + data
        for value in self._encoded:
            data = data.replace(value, MARK.encode())
        begun = max(begun_bytes(data, value) for value in self._encoded)
        self._held = data[len(data) - begun :]
        return data[: len(data) - begun]

    def rest(self) -> bytes:
        """What was held back, when nothing more can belong to it: as it is when it tells too little to matter."""
        held, self._held = self._held, b""
        return held if len(held) < SECRET_MINIMUM_CHARS else MARK.encode()

    def frame(self, body: bytes) -> bytes:
        """A frame's body as it may go on. Raises as `decode` for what is no frame."""
        frame = decode(body)
        if isinstance(frame, Log):
            return self._again(body, frame.text, lambda text: msgspec.structs.replace(frame, text=text))
        if isinstance(frame, Failed | Health | Done) and frame.error is not None:
            return self._again(body, frame.error, lambda text: msgspec.structs.replace(frame, error=text))
        return body

    def _again(self, body: bytes, text: str, make: Callable[[str], msgspec.Struct]) -> bytes:
        cleaned = self.text(text)
        return body if cleaned == text else _encode(make(cleaned))


def begun_bytes(data: bytes, value: bytes) -> int:
    """How many bytes at the end of `data` are the beginning of `value`, and not all of it: as many as can be."""
    tail = data[-(len(value) - 1) :]
    start = tail.find(value[:1])
    while start >= 0:
        if value.startswith(tail[start:]):
            return len(tail) - start
        start = tail.find(value[:1], start + 1)
    return 0


def ends_something(body: bytes) -> bool:
    """Whether what was printed before this frame is complete: a set-up has ended, or a prediction."""
    return isinstance(decode(body), Ready | Failed | Done)
