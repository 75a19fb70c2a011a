"""The worker's ends of the pipes that text leaves a child by. Every byte of them is the child's choice.

The first two are the worker's own make. Those that a child hands over later are not: it could make a read of them wait
for ever, so they are emptied into a pipe of ours, by the one call that never waits whatever the pipe's own settings.
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
# Each belongs to a prediction that started processes, and goes with the last of them. The oldest goes earlier.
PIPES_LIMIT: Final = 128
_NONE: Final = -1
_FINAL_READS: Final = 16  # after the end a process left behind may still write; a megabyte of each is enough


class Hearer(Protocol):
    def on_text(self, ids: OwnerIds, text: str) -> None: ...
    def on_log_bytes(self, data: bytes) -> None: ...


class Child(Protocol):
    """Whose pipes they are."""

    def spend(self, frames: int, size: int) -> None:
        """Told of each read; it may pause the reader."""

    def may_read_standard(self) -> bool:
        """Not before the frames that came ahead of C code's text."""

    def poison(self, reason: str) -> None: ...


@dataclass(frozen=True)
class _Foreign:
    """A pipe that the child made."""

    descriptor: int
    decoder: text_stream.TextDecoder


class PipeReader:
    def __init__(self, text: int, standard: int, hearer: Hearer, child: Child) -> None:
        """`text` and `standard` are closed with it, as what the child hands over."""
        self._loop = asyncio.get_running_loop()
        self._text = text
        self._standard = standard
        self._own_standard = True
        self._hearer = hearer
        self._child = child
        self._decoder = text_stream.TextDecoder()
        self._foreign: dict[int, _Foreign] = {}
        self._open = {text, standard}
        self._transit: tuple[int, int] | None = None
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
            self._loop.add_reader(descriptor, self._on_foreign, self._foreign[descriptor])

    # What Python prints

    def _on_text(self) -> None:
        self._read_text()

    def _read_text(self) -> bool:
        """Whether there was something."""
        data = _read(self._text)
        if not data:
            self._ended(self._text, data)
            return False
        self._say(self._decoder, data)
        return True

    def _say(self, decoder: text_stream.TextDecoder, data: bytes) -> None:
        try:
            pieces = decoder.feed(data)
        except ValueError as error:
            self._child.poison(str(error))
            return
        for ids, text in pieces:
            self._hearer.on_text(ids, text)
        self._child.spend(len(pieces), len(data))

    # What C code prints

    def _on_standard(self) -> None:
        if self._child.may_read_standard() and self._standard in self._open:
            self._read_standard()

    def _read_standard(self) -> bool:
        data = _read(self._standard) if self._own_standard else self._splice(self._standard)
        if not data:
            self._ended(self._standard, data)
            return False
        self._hearer.on_log_bytes(data)
        self._child.spend(1, len(data))
        return True

    # What processes print

    def _on_foreign(self, pipe: _Foreign) -> None:
        self._read_foreign(pipe)

    def _read_foreign(self, pipe: _Foreign) -> bool:
        data = self._splice(pipe.descriptor)
        if data:
            self._say(pipe.decoder, data.replace(b"\0", b""))
            return True
        self._ended(pipe.descriptor, data)
        return False

    def _splice(self, descriptor: int) -> bytes | None:
        """b"" at the end, None where there is nothing now."""
        if self._transit is None:
            self._transit = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            count = os.splice(descriptor, self._transit[1], READ_BYTES, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return None
        except OSError:  # it is no end that can be read
            return b""
        return os.read(self._transit[0], count) if count else b""

    # Frames about pipes

    def on_frame(self, body: bytes, files: deque[int]) -> None:
        """Raises ValueError for what no child of ours sends."""
        if body == protocol.PRINTED:
            self._take_all()
            return
        ids, standard = _pipe_of(body)
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

    def _take_all(self) -> None:
        """What is in pipes by now, but for the standard one, was written before what the next frames say."""
        if self._text in self._open:
            self._read_text()
        for pipe in list(self._foreign.values()):
            if pipe.descriptor in self._open:
                self._read_foreign(pipe)

    def _replace_standard(self, descriptor: int) -> None:
        """What is left in the old one is of what runs; what still comes there later is nobody's."""
        if self._standard in self._open:
            self._read_standard()
        old, self._standard = self._standard, descriptor
        if old in self._open:
            self._loop.remove_reader(old)
            self._foreign[old] = _Foreign(old, text_stream.TextDecoder())
            self._watch(old)
        self._own_standard = False
        self._open.add(descriptor)
        self._watch(descriptor)

    def _add(self, descriptor: int, ids: OwnerIds) -> None:
        while len(self._foreign) >= PIPES_LIMIT:
            self._drop(next(iter(self._foreign)))
        self._foreign[descriptor] = _Foreign(descriptor, text_stream.TextDecoder(ids))
        self._open.add(descriptor)
        self._watch(descriptor)

    # Ends

    def _ended(self, descriptor: int, data: bytes | None) -> None:
        """A character that was cut by the end is dropped."""
        if data == b"" and descriptor in self._open:
            self._drop(descriptor)

    def _drop(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        self._open.discard(descriptor)
        self._foreign.pop(descriptor, None)
        if descriptor == self._text:  # another pipe may have its number next
            self._text = _NONE
        elif descriptor == self._standard:
            self._standard = _NONE
        os.close(descriptor)

    def read_rest(self) -> None:
        """Of a process that has ended."""
        for _ in range(_FINAL_READS):
            if self._text not in self._open or not self._read_text():
                break
        for _ in range(_FINAL_READS):
            if self._standard not in self._open or not self._read_standard():
                break
        for pipe in list(self._foreign.values()):
            for _ in range(_FINAL_READS):
                if pipe.descriptor not in self._open or not self._read_foreign(pipe):
                    break

    def close(self) -> None:
        for descriptor in list(self._open):
            self._drop(descriptor)
        for descriptor in self._transit or ():
            os.close(descriptor)
        self._transit = None


def _read(descriptor: int) -> bytes | None:
    """As PipeReader._splice."""
    try:
        return os.read(descriptor, READ_BYTES)
    except BlockingIOError:
        return None


def _pipe_of(body: bytes) -> tuple[OwnerIds, bool]:
    """Whose pipe a frame hands over, and whether it takes the place of descriptors 1 and 2. Raises ValueError."""
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
