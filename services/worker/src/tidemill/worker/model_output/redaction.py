"""Replaces secrets in a model's logs and errors: those of its owner, and those in its inputs.

It guards against accidents: a model that wants to reveal a secret can. Outputs are results and stay as they are. It
must never change text without a secret. Secrets of inputs are hidden by the child in errors and in what Python prints;
here they are hidden in what C code and the model's other processes print.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, AnyStr, Final

import msgspec

from tidemill.contracts.api.model_secrets import SECRET_MINIMUM_CHARS
from tidemill.hosting.child.frames import DoneFrame, FailedFrame, HealthFrame, ReadyFrame, decode
from tidemill.model.wire.text_stream import OwnerIds

MARK: Final = "[secret]"
MINIMUM_CHARS: Final = 4  # of an input's secret, as in the child: shorter ones would match in every line
KEPT_ENDED: Final = 16  # ended predictions whose secrets are still hidden, as in the child
_encode: Final = msgspec.json.Encoder().encode


class Redactor:
    """For one instance. `secrets` are those of the model's owner."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._values = _parts(secrets, SECRET_MINIMUM_CHARS)
        self._inputs: dict[str, list[bytes]] = {}
        self._ended: deque[list[bytes]] = deque(maxlen=KEPT_ENDED)
        self._printed: list[bytes] = []  # all secrets to hide in printed bytes, the longest first
        self._held = b""  # the end of the last printed bytes: perhaps the beginning of a secret
        self._texts: list[str] = []  # the same as text
        self._held_texts: dict[tuple[str, ...] | None, str] = {}  # by owner
        self._renew()

    def __bool__(self) -> bool:
        return bool(self._printed)

    def hide(self, prediction: str, secrets: Iterable[str]) -> None:
        """Also hide these secrets of a prediction's input from now on."""
        self._inputs[prediction] = [each.encode() for each in _parts(secrets, MINIMUM_CHARS)]
        self._renew()

    def forget(self, prediction: str) -> None:
        """Note its end. Its secrets stay hidden for a while: a process that it left behind may print them."""
        if values := self._inputs.pop(prediction, None):
            self._ended.append(values)
            self._renew()

    def _renew(self) -> None:
        values = {each.encode() for each in self._values}
        values.update(*self._inputs.values(), *self._ended)
        self._printed = sorted(values, key=len, reverse=True)  # one may be a part of another
        self._texts = [value.decode() for value in self._printed]

    def text(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, MARK)
        return text

    def log_bytes(self, data: bytes) -> bytes:
        """Return the bytes that are safe to pass on. The end is held back if it may begin a secret."""
        data = self._held + data
        for value in self._printed:
            data = data.replace(value, MARK.encode())
        begun = max(begun_part(data, value) for value in self._printed)
        self._held = data[len(data) - begun :]
        return data[: len(data) - begun]

    def rest(self) -> bytes:
        """Return what was held back, when nothing can follow it: replaced unless it is too short to reveal anything."""
        held, self._held = self._held, b""
        return held if len(held) < MINIMUM_CHARS else MARK.encode()

    def piece(self, ids: OwnerIds, text: str) -> str:
        """As log_bytes, for text that was printed for the predictions `ids`."""
        owner = None if ids is None else tuple(ids)
        text = self._held_texts.pop(owner, "") + text
        for value in self._texts:
            text = text.replace(value, MARK)
        begun = max(begun_part(text, value) for value in self._texts)
        if begun:
            self._held_texts[owner] = text[len(text) - begun :]
        return text[: len(text) - begun]

    def rest_of_texts(self, prediction: str | None) -> list[tuple[OwnerIds, str]]:
        """As rest(), for the texts of this prediction; for all if it is None."""
        ended = [ids for ids in self._held_texts if prediction is None or prediction in (ids or ())]
        held = [(ids, self._held_texts.pop(ids)) for ids in ended]
        return [(ids, text if len(text) < MINIMUM_CHARS else MARK) for ids, text in held]

    def frame(self, body: bytes) -> bytes:
        """Return the frame's body without secrets. Raise as `decode` does for what is not a frame."""
        if not self._values:
            return body
        frame = decode(body)
        if isinstance(frame, FailedFrame | HealthFrame | DoneFrame) and frame.error is not None:
            return self._again(body, frame.error, lambda text: msgspec.structs.replace(frame, error=text))
        return body

    def _again(self, body: bytes, text: str, make: Callable[[str], msgspec.Struct]) -> bytes:
        cleaned = self.text(text)
        return body if cleaned == text else _encode(make(cleaned))


def secrets_in(given: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return the texts in the inputs of these names."""
    return [text for name in names for text in _texts(given.get(name))]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _parts(secrets: Iterable[str], least_chars: int) -> list[str]:
    """Return secrets and their single lines, since loggers print lines; the longest first."""
    found = {part.strip() for value in secrets for part in (value, *value.splitlines())}
    return sorted((each for each in found if len(each) >= least_chars), key=len, reverse=True)


def begun_part(data: AnyStr, value: AnyStr) -> int:
    """Return the length of the longest end of `data` that is a proper beginning of `value`."""
    tail = data[-(len(value) - 1) :]
    start = tail.find(value[:1])
    while start >= 0:
        if value.startswith(tail[start:]):
            return len(tail) - start
        start = tail.find(value[:1], start + 1)
    return 0


def ends_something(body: bytes) -> bool:
    """Whether the frame ends a set-up or a prediction: what was printed before it is complete."""
    return isinstance(decode(body), ReadyFrame | FailedFrame | DoneFrame)
