"""The child's ends of the pipes that text leaves by: one for what Python prints, one that is descriptors 1 and 2 of the
process, for its C code, and one for each owner that starts processes.

What a process writes belongs to who started it, however long it lives, so it gets its owner's pipe. C code of this
process has descriptors 1 and 2 only: where it has left something unread at the end of a prediction they become a new
pipe, and the old one belongs to what has ended.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from tidemill.model.logs import c_streams
from tidemill.model.logs.owners import Owner, current
from tidemill.model.wire import protocol, text_stream
from tidemill.model.wire.channel import Channel, leave, lost


class CancelShield(AbstractContextManager[None], Protocol):
    """While it is entered, no cancel raises in this thread."""

    def leave_quietly(self) -> None:
        """Leave where nothing may be raised."""


class Pipes:
    def __init__(self, channel: Channel, text: int, shield: CancelShield) -> None:
        """`text` is the writing end of the text pipe."""
        self._channel = channel
        self._text = text
        self._shield = shield
        self._last: Owner | None = None  # whose text was written last
        self._lock = threading.RLock()  # held while a process is started: its pipe must stay open until then
        self._standard = _identity(1)

    def write(self, owner: Owner, text: str) -> None:
        """By one thread at a time. A cancel may come between any two steps: at worst it cuts the text of its own."""
        data = text_stream.clean(text)
        if owner is not self._last:
            data = text_stream.marker(owner.ids) + data
        self._channel.printed = True
        try:
            while len(data) > (sent := os.write(self._text, data)):
                data = data[sent:]
        except OSError as error:
            if lost(error):
                leave()
            raise
        self._last = owner

    def end(self, owner: Owner) -> None:
        """It starts no more processes; what its processes still say is nobody's."""
        if owner.pipe is not None:
            with self._lock:
                os.close(owner.pipe)
                owner.pipe = None
            self._channel.printed = True

    def settle_standard(self) -> None:
        """What C code has printed until now belongs to what ends now."""
        c_streams.flush()
        if not c_streams.untaken_bytes() or not self.is_standard(1):
            return
        with self._lock:
            reading, writing = os.pipe2(os.O_CLOEXEC)
            for descriptor in (1, 2):
                if self.is_standard(descriptor):
                    os.dup2(writing, descriptor)
            os.close(writing)
            self._standard = _identity(1)
        self._channel.put(protocol.pipe(None, standard=True), [reading])

    def is_standard(self, descriptor: int) -> bool:
        """Whether it leads where this process's standard streams do: a model may have put a file there."""
        return self._standard is not None and _identity(descriptor) == self._standard

    @contextmanager
    def held(self) -> Iterator[None]:
        """For whoever starts a process."""
        with self._shield, self._lock:
            yield

    def of_current(self) -> int:
        """Where a process that is started now is to write; for a holder."""
        owner = current()
        if owner.pipe is None:
            reading, owner.pipe = os.pipe2(os.O_CLOEXEC)
            self._channel.send(protocol.pipe(owner.ids), [reading])
        return owner.pipe

    def before_fork(self) -> None:
        self._shield.__enter__()
        self._lock.acquire()
        if self._standard is not None:
            self.of_current()

    def after_fork(self) -> None:
        """In this process."""
        self._lock.release()
        self._shield.leave_quietly()

    def disconnect(self) -> None:
        """In a process that was forked: it writes for its owner and to nothing else of ours."""
        pipe = current().pipe
        for descriptor in (1, 2):
            if pipe is not None and self.is_standard(descriptor):
                os.dup2(pipe, descriptor)
        self._lock = threading.RLock()
        self._standard = None
        os.close(self._text)


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(descriptor)
    except OSError:  # the model closed it
        return None
    return found.st_dev, found.st_ino
