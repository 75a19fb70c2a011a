"""sys.stdout and sys.stderr of model code: each line goes to the logs of its owner (owners.py).

A line is sent when it is complete; a progress bar (carriage return) and a flush at once; an unfinished line when its
owner ends, so that it never joins the text of the next one. C code and subprocesses write to other pipes.
"""

import io
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, TextIO, cast

from tidemill.model.logs.owners import LogOwner, current_owner
from tidemill.model.logs.source_paths import shorten_source_paths
from tidemill.model.values.secret_inputs import MARK, MINIMUM_CHARS, SecretInputs

Send = Callable[[LogOwner, str], None]

_LINE_LIMIT_CHARS: Final = 64 * 1024  # of an unfinished line; a longer one is sent in pieces
_STREAMS: Final = ("stdout", "stderr")
# Parts of a line are kept without joining them up to these limits, so that the limit above holds.
_PARTS_LIMIT: Final = 64
_PART_LIMIT_CHARS: Final = 1024


def split_finished(text: str) -> tuple[str, str]:
    """Return the text to send now, and the unfinished line to keep."""
    if "\r" in text:
        return text, ""
    complete, newline, rest = text.rpartition("\n")
    return complete + newline, rest


def _take_all(waiting: list[str]) -> str:
    """Remove and return all parts. Another thread may append meanwhile."""
    count = len(waiting)
    text = "".join(waiting[:count])
    del waiting[:count]
    return text


class Logs:
    def __init__(self, send: Send, directories: Iterable[str] = ()) -> None:
        """`directories` are the model's: paths in tracebacks are shown relative to them."""
        self._send = send
        self._lock = threading.RLock()
        self._directories = tuple(directories)
        self.secrets = SecretInputs()

    def write(self, stream: str, text: str) -> None:
        owner = current_owner()
        waiting = owner.unfinished_parts(stream)
        if "\n" not in text and "\r" not in text and len(waiting) < _PARTS_LIMIT and len(text) < _PART_LIMIT_CHARS:
            waiting.append(text)  # atomic, needs no lock: print() makes several calls per line
            return
        with self._lock:
            ready, rest = split_finished(_take_all(waiting) + text)
            if len(rest) > _LINE_LIMIT_CHARS:
                ready, rest = ready + rest, ""
            if ready and ready[-1] != "\n":
                ready, rest = self._split_at_secret(ready)
            self._emit(owner, waiting, ready, rest)

    def write_bytes(self, stream: str, data: bytes) -> None:
        """Decode bytes; a character may be split between two calls."""
        self.write(stream, current_owner().decoder(stream).decode(data))

    def flush(self, stream: str) -> None:
        owner = current_owner()
        waiting = owner.unfinished_parts(stream)
        with self._lock:
            self._emit(owner, waiting, *self._split_at_secret(_take_all(waiting)))

    def _emit(self, owner: LogOwner, waiting: list[str], ready: str, rest: str) -> None:
        """Send `ready`. Keep `rest`, in front of what another thread has appended meanwhile."""
        if rest:
            waiting.insert(0, rest)
        if ready:
            self._send(owner, self._clean(ready))

    def _clean(self, text: str) -> str:
        return self.secrets.redact(shorten_source_paths(text, self._directories))

    def _split_at_secret(self, text: str) -> tuple[str, str]:
        """Split an unfinished line into the text to send now and a tail that may be the start of a secret."""
        at = len(text) - self.secrets.partial_length(text)
        return text[:at], text[at:]

    def finish(self, owner: LogOwner) -> None:
        """End the owner: send its unfinished lines. Text that threads still print for it has no owner."""
        if owner.unfinished is not None:
            with self._lock:
                for stream in _STREAMS:
                    decoder = (owner.decoders or {}).pop(stream, None)
                    cut = "" if decoder is None else decoder.decode(b"", final=True)
                    ready, partial = self._split_at_secret(_take_all(owner.unfinished_parts(stream)) + cut)
                    text = self.secrets.redact(shorten_source_paths(ready, self._directories)) + (
                        partial if len(partial) < MINIMUM_CHARS else MARK
                    )
                    if text:
                        self._send(owner, text)
        owner.ended = True

    def install(self) -> None:
        """Replace Python's standard streams."""
        for name, descriptor in zip(_STREAMS, (1, 2), strict=True):
            stream = cast("TextIO", LogStream(self, name, descriptor))
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)

    def disconnect(self) -> None:
        """In a process that the model forked, make the standard streams write to descriptors 1 and 2 again."""
        self._lock = threading.RLock()
        for name, descriptor in zip(_STREAMS, (1, 2), strict=True):
            stream = os.fdopen(descriptor, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


class LogStream(io.TextIOBase):
    """sys.stdout or sys.stderr for model code. Its `buffer` takes bytes, its fileno() is the pipe."""

    encoding = "utf-8"
    errors = "replace"
    line_buffering = True
    mode = "w"

    def __init__(self, logs: Logs, name: str, descriptor: int) -> None:
        super().__init__()
        self.name = f"<{name}>"
        self.buffer = _BinaryStream(self, logs, name)
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
        """Do nothing: line buffering and the encoding, which models set here, are fixed."""

    def close(self) -> None:
        """Do nothing: later predictions need the stream."""

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True


class _BinaryStream(io.BufferedIOBase):
    def __init__(self, text: LogStream, logs: Logs, stream: str) -> None:
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
        """Do nothing, as LogStream."""

    def fileno(self) -> int:
        return self._text.fileno()

    def writable(self) -> bool:
        return True
