"""The worker's ends of a child's text pipes. The child controls every byte.

The worker made the first two pipes. The child sends more later, and could make read() block on them for ever: their
bytes are moved into a pipe of the worker's by splice(), which never blocks, whatever flags the pipe has.
"""

import asyncio
import json
import os
import stat
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from tidemill.model.wire import protocol, text_stream
from tidemill.model.wire.text_stream import OwnerIds

READ_BYTES: Final = 64 * 1024  # a full pipe
# Each belongs to a prediction that started processes, and closes with the last of them. Over the limit the oldest is
# closed.
PIPES_LIMIT: Final = 128
_CLOSED: Final = -1
_FINAL_READS: Final = 16  # after the exit a remaining process may still write; a megabyte of each pipe is enough


class TextListener(Protocol):
    def on_text(self, ids: OwnerIds, text: str) -> None: ...
    def on_log_bytes(self, data: bytes) -> None: ...


class PipeOwner(Protocol):
    """The child process whose pipes are read."""

    def spend(self, frames: int, size: int) -> None:
        """Charge each read to the child's budget. It may pause the reader."""

    def may_read_standard(self) -> bool:
        """Return False while frames that came before C code's text are not handled."""

    def poison(self, reason: str) -> None: ...


@dataclass(frozen=True)
class _ChildPipe:
    """A pipe that the child made and sent."""

    descriptor: int
    decoder: text_stream.TextDecoder


class PipeReader:
    def __init__(self, text: int, standard: int, listener: TextListener, child: PipeOwner) -> None:
        """`close()` closes `text` and `standard`, as it does the pipes that the child sends."""
        self._loop = asyncio.get_running_loop()
        self._text = text
        self._standard = standard
        self._made_standard = True
        self._listener = listener
        self._child = child
        self._decoder = text_stream.TextDecoder()
        self._child_pipes: dict[int, _ChildPipe] = {}
        self._open = {text, standard}
        self._splice_pipe: tuple[int, int] | None = None
        self.reading = False

    def resume(self) -> None:
        self.reading = True
        for descriptor in self._open:
            self._watch(descriptor)

    def pause(self) -> None:
        self.reading = False
        for descriptor in self._open:
            self._loop.remove_reader(descriptor)

    def _watch(self, descriptor: int) -> None:
        if not self.reading:
            return
        if descriptor == self._text:
            self._loop.add_reader(descriptor, self._on_text)
        elif descriptor == self._standard:
            self._loop.add_reader(descriptor, self._on_standard)
        else:
            self._loop.add_reader(descriptor, self._on_child_pipe, self._child_pipes[descriptor])

    # Text of Python code

    def _on_text(self) -> None:
        self._read_text()

    def _read_text(self) -> bool:
        """Return whether there was text."""
        data = _read(self._text)
        if not data:
            self._drop_if_closed(self._text, data)
            return False
        self._decode(self._decoder, data)
        return True

    def _decode(self, decoder: text_stream.TextDecoder, data: bytes) -> None:
        try:
            pieces = decoder.feed(data)
        except ValueError as error:
            self._child.poison(str(error))
            return
        for ids, text in pieces:
            self._listener.on_text(ids, text)
        self._child.spend(len(pieces), len(data))

    # Text of C code

    def _on_standard(self) -> None:
        if self._child.may_read_standard() and self._standard in self._open:
            self._read_standard()

    def _read_standard(self) -> bool:
        data = _read(self._standard) if self._made_standard else self._splice(self._standard)
        if not data:
            self._drop_if_closed(self._standard, data)
            return False
        self._listener.on_log_bytes(data)
        self._child.spend(1, len(data))
        return True

    # Text of processes

    def _on_child_pipe(self, pipe: _ChildPipe) -> None:
        self._read_child_pipe(pipe)

    def _read_child_pipe(self, pipe: _ChildPipe) -> bool:
        data = self._splice(pipe.descriptor)
        if data:
            self._decode(pipe.decoder, data.replace(b"\0", b""))
            return True
        self._drop_if_closed(pipe.descriptor, data)
        return False

    def _splice(self, descriptor: int) -> bytes | None:
        """Return b"" at the end, None if there is nothing to read now."""
        if self._splice_pipe is None:
            self._splice_pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            count = os.splice(descriptor, self._splice_pipe[1], READ_BYTES, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return None
        except OSError:  # not the reading end of a pipe
            return b""
        return os.read(self._splice_pipe[0], count) if count else b""

    # Frames about pipes

    def on_frame(self, body: bytes, files: deque[int]) -> None:
        """Handle a `printed` or `pipe` frame. Raise ValueError if it is invalid."""
        if body == protocol.PRINTED:
            self._read_all()
            return
        ids, standard = _parse_pipe_frame(body)
        if not files:
            raise ValueError("it announced a pipe that did not come with it")
        descriptor = files.popleft()
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ValueError("it handed over what is no pipe")
        if standard:
            self._replace_standard(descriptor)
        else:
            self._add(descriptor, ids)

    def _read_all(self) -> None:
        """Read all pipes except the standard one: their text was written before the next frames."""
        if self._text in self._open:
            self._read_text()
        for pipe in list(self._child_pipes.values()):
            if pipe.descriptor in self._open:
                self._read_child_pipe(pipe)

    def _replace_standard(self, descriptor: int) -> None:
        """Replace the standard pipe. Text left in the old one belongs to what runs; later text there has no owner."""
        if self._standard in self._open:
            self._read_standard()
        old, self._standard = self._standard, descriptor
        if old in self._open:
            self._loop.remove_reader(old)
            self._child_pipes[old] = _ChildPipe(old, text_stream.TextDecoder())
            self._watch(old)
        self._made_standard = False
        self._open.add(descriptor)
        self._watch(descriptor)

    def _add(self, descriptor: int, ids: OwnerIds) -> None:
        while len(self._child_pipes) >= PIPES_LIMIT:
            self._drop(next(iter(self._child_pipes)))
        self._child_pipes[descriptor] = _ChildPipe(descriptor, text_stream.TextDecoder(ids))
        self._open.add(descriptor)
        self._watch(descriptor)

    # Ends

    def _drop_if_closed(self, descriptor: int, data: bytes | None) -> None:
        """Close a pipe that has ended. An incomplete character is dropped."""
        if data == b"" and descriptor in self._open:
            self._drop(descriptor)

    def _drop(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        self._open.discard(descriptor)
        self._child_pipes.pop(descriptor, None)
        if descriptor == self._text:  # another pipe may get its number
            self._text = _CLOSED
        elif descriptor == self._standard:
            self._standard = _CLOSED
        os.close(descriptor)

    def read_rest(self) -> None:
        """Read what is left after the exit of the process."""
        for _ in range(_FINAL_READS):
            if self._text not in self._open or not self._read_text():
                break
        for _ in range(_FINAL_READS):
            if self._standard not in self._open or not self._read_standard():
                break
        for pipe in list(self._child_pipes.values()):
            for _ in range(_FINAL_READS):
                if pipe.descriptor not in self._open or not self._read_child_pipe(pipe):
                    break

    def close(self) -> None:
        for descriptor in list(self._open):
            self._drop(descriptor)
        for descriptor in self._splice_pipe or ():
            os.close(descriptor)
        self._splice_pipe = None


def _read(descriptor: int) -> bytes | None:
    """Read without blocking. Return as PipeReader._splice."""
    try:
        return os.read(descriptor, READ_BYTES)
    except BlockingIOError:
        return None


def _parse_pipe_frame(body: bytes) -> tuple[OwnerIds, bool]:
    """Return the owner of the pipe, and whether it replaces descriptors 1 and 2. Raise ValueError."""
    if len(body) > text_stream.MARKER_LIMIT_BYTES:
        raise ValueError("it announced a pipe of no end of predictions")
    try:
        frame = json.loads(body)
    except RecursionError:
        raise ValueError("it sent what is no frame") from None
    ids = frame.get("ids")
    listed = isinstance(ids, list) and len(ids) <= text_stream.OWNER_LIMIT and all(isinstance(one, str) for one in ids)
    if frame["t"] != "pipe" or not (ids is None or listed):
        raise ValueError("it sent what is no frame")
    return ids, frame.get("standard") is True
