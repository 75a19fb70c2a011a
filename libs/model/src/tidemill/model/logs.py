"""sys.stdout and sys.stderr of model code: each line goes to the logs of the prediction that wrote it.

Lines leave when they are whole, progress bars (carriage returns) and flushes at once, an unfinished line at the latest
when its prediction ends: it never runs into the next one. What C code and subprocesses write takes the pipe instead.
"""

import codecs
import io
import os
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, TextIO, cast

from tidemill.model.secret_inputs import MARK, MINIMUM_CHARS, SecretInputs

Send = Callable[[str | None, str], None]  # prediction (None: of no prediction), text

# One frame of a very long text; well under the frame limit, large enough not to matter.
_PIECE_CHARS: Final = 64 * 1024

_STREAMS: Final = ("stdout", "stderr")


def split(text: str) -> tuple[str, str]:
    """What may leave now, and the unfinished line that waits."""
    if "\r" in text:
        return text, ""
    whole, newline, rest = text.rpartition("\n")
    return whole + newline, rest


class Logs:
    def __init__(self, send: Send, current: Callable[[], str | None], shield: AbstractContextManager[None]) -> None:
        self._send = send
        self._current = current
        self._shield = shield
        self._lock = threading.RLock()
        self._unfinished: dict[tuple[str | None, str], str] = {}
        self.secrets = SecretInputs()

    def attribute(self, current: Callable[[], str | None]) -> None:
        """From here on `current` says whose text it is."""
        self._current = current

    def write(self, stream: str, text: str) -> None:
        with self._shield, self._lock:
            key = (self._current(), stream)
            ready, rest = split(self._unfinished.pop(key, "") + text)
            if len(rest) > _PIECE_CHARS:
                ready, rest = ready + rest, ""
            if ready and not ready.endswith("\n"):
                ready, rest = self._safe(ready)
            if rest:
                self._unfinished[key] = rest
            self._emit(key[0], ready)

    def flush(self, stream: str) -> None:
        with self._shield, self._lock:
            key = (self._current(), stream)
            ready, rest = self._safe(self._unfinished.pop(key, ""))
            if rest:
                self._unfinished[key] = rest
            self._emit(key[0], ready)

    def _safe(self, text: str) -> tuple[str, str]:
        """What of an unfinished line may leave now, and what may be the beginning of a secret."""
        at = len(text) - self.secrets.begun(text)
        return text[:at], text[at:]

    def finish(self, prediction: str | None) -> None:
        """The prediction (or, with None, set-up) is over: what waits leaves."""
        if not self._unfinished:
            return
        with self._shield, self._lock:
            for stream in _STREAMS:
                ready, begun = self._safe(self._unfinished.pop((prediction, stream), ""))
                self._emit(prediction, ready + (begun if len(begun) < MINIMUM_CHARS else MARK))

    def _emit(self, prediction: str | None, text: str) -> None:
        text = self.secrets.cleaned(text)
        for start in range(0, len(text), _PIECE_CHARS):
            self._send(prediction, text[start : start + _PIECE_CHARS])

    def install(self) -> None:
        """Take the place of Python's standard streams."""
        for name, descriptor in zip(_STREAMS, (1, 2), strict=True):
            stream = cast("TextIO", Stream(self, name, descriptor))
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)

    def disconnect(self) -> None:
        """For a process that the model forked: its standard streams are the pipe from here on."""
        self._lock = threading.RLock()
        for name, descriptor in zip(_STREAMS, (1, 2), strict=True):
            stream = os.fdopen(descriptor, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


class Stream(io.TextIOBase):
    """What model code sees as sys.stdout; its `buffer` takes bytes, its fileno() is the pipe."""

    encoding = "utf-8"
    errors = "replace"
    line_buffering = True
    mode = "w"

    def __init__(self, logs: Logs, name: str, descriptor: int) -> None:
        super().__init__()
        self.name = f"<{name}>"
        self.buffer = _Bytes(self)
        self._logs = logs
        self._stream = name
        self._descriptor = descriptor

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._logs.write(self._stream, text)
        return len(text)

    def flush(self) -> None:
        self._logs.flush(self._stream)

    def reconfigure(self, **_settings: Any) -> None:
        """Models set line buffering or an encoding; both are fixed here."""

    def close(self) -> None:
        """A model that closes its output closes nothing: later predictions have logs too."""

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True


class _Bytes(io.BufferedIOBase):
    def __init__(self, text: Stream) -> None:
        super().__init__()
        self._text = text
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: Any, /) -> int:
        raw = bytes(data)
        self._text.write(self._decoder.decode(raw))
        return len(raw)

    def flush(self) -> None:
        self._text.flush()

    def close(self) -> None:
        """As the stream above."""

    def fileno(self) -> int:
        return self._text.fileno()

    def writable(self) -> bool:
        return True
