"""sys.stdout and sys.stderr of model code: each line goes to the logs of whoever it belongs to (printed/owners.py).

Lines leave when they are whole, progress bars (carriage returns) and flushes at once, an unfinished line at the latest
when its owner ends: it never runs into the next one. What C code and subprocesses write takes other pipes.
"""

import io
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, TextIO, cast

from tidemill.model.logs.owners import Owner, current
from tidemill.model.logs.source_paths import shorten_source_paths
from tidemill.model.values.secret_inputs import MARK, MINIMUM_CHARS, SecretInputs

Send = Callable[[Owner, str], None]

_LINE_LIMIT_CHARS: Final = 64 * 1024  # of one that is not finished: what is longer leaves in pieces
_STREAMS: Final = ("stdout", "stderr")
# Of what waits without a look at it: a bound for the list, and for what the limit above is of.
_PARTS_LIMIT: Final = 64
_PART_LIMIT_CHARS: Final = 1024


def split(text: str) -> tuple[str, str]:
    """What may leave now, and the unfinished line that waits."""
    if "\r" in text:
        return text, ""
    whole, newline, rest = text.rpartition("\n")
    return whole + newline, rest


def _taken(waiting: list[str]) -> str:
    """All of it, taken out; another thread may add to it meanwhile."""
    count = len(waiting)
    text = "".join(waiting[:count])
    del waiting[:count]
    return text


class Logs:
    def __init__(self, send: Send, directories: Iterable[str] = ()) -> None:
        """`directories` are the model's: names of files in tracebacks are told from there."""
        self._send = send
        self._lock = threading.RLock()
        self._directories = tuple(directories)
        self.secrets = SecretInputs()

    def write(self, stream: str, text: str) -> None:
        owner = current()
        waiting = owner.waiting(stream)
        if "\n" not in text and "\r" not in text and len(waiting) < _PARTS_LIMIT and len(text) < _PART_LIMIT_CHARS:
            waiting.append(text)  # one step, which needs no lock: print() takes several for each line
            return
        with self._lock:
            ready, rest = split(_taken(waiting) + text)
            if len(rest) > _LINE_LIMIT_CHARS:
                ready, rest = ready + rest, ""
            if ready and ready[-1] != "\n":
                ready, rest = self._safe(ready)
            self._part(owner, waiting, ready, rest)

    def write_bytes(self, stream: str, data: bytes) -> None:
        """A character may come in two pieces."""
        self.write(stream, current().decoder(stream).decode(data))

    def flush(self, stream: str) -> None:
        owner = current()
        waiting = owner.waiting(stream)
        with self._lock:
            self._part(owner, waiting, *self._safe(_taken(waiting)))

    def _part(self, owner: Owner, waiting: list[str], ready: str, rest: str) -> None:
        """What is ready leaves, the rest waits on, before what another thread has added meanwhile."""
        if rest:
            waiting.insert(0, rest)
        if ready:
            self._send(owner, self._clean(ready))

    def _clean(self, text: str) -> str:
        return self.secrets.cleaned(shorten_source_paths(text, self._directories))

    def _safe(self, text: str) -> tuple[str, str]:
        """What of an unfinished line may leave now, and what may be the beginning of a secret."""
        at = len(text) - self.secrets.begun(text)
        return text[:at], text[at:]

    def finish(self, owner: Owner) -> None:
        """It is over: what waits leaves, and what threads still print for it is nobody's."""
        if owner.unfinished is not None:
            with self._lock:
                for stream in _STREAMS:
                    decoder = (owner.decoders or {}).pop(stream, None)
                    cut = "" if decoder is None else decoder.decode(b"", final=True)
                    ready, begun = self._safe(_taken(owner.waiting(stream)) + cut)
                    text = self.secrets.cleaned(shorten_source_paths(ready, self._directories)) + (
                        begun if len(begun) < MINIMUM_CHARS else MARK
                    )
                    if text:
                        self._send(owner, text)
        owner.over = True

    def install(self) -> None:
        """Take the place of Python's standard streams."""
        for name, descriptor in zip(_STREAMS, (1, 2), strict=True):
            stream = cast("TextIO", Stream(self, name, descriptor))
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)

    def disconnect(self) -> None:
        """For a process that the model forked: its standard streams are its owner's pipe from here on."""
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
        self.buffer = _Bytes(self, logs, name)
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
    def __init__(self, text: Stream, logs: Logs, stream: str) -> None:
        super().__init__()
        self._text = text
        self._logs = logs
        self._stream = stream

    def write(self, data: Any, /) -> int:
        raw = bytes(data)
        self._logs.write_bytes(self._stream, raw)
        return len(raw)

    def flush(self) -> None:
        self._text.flush()

    def close(self) -> None:
        """As the stream above."""

    def fileno(self) -> int:
        return self._text.fileno()

    def writable(self) -> bool:
        return True
