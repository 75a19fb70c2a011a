"""The child's ends of the text pipes: one for Python code, one as descriptors 1 and 2 for C code, and one for each
owner that starts processes.

Text of a process belongs to the owner that started it, however long the process lives, so it writes to its owner's
pipe. C code of this process only has descriptors 1 and 2: if its text is still unread at the end of a prediction, the
descriptors become a new pipe, and the old pipe belongs to the prediction that has ended.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from tidemill.model.logs import c_streams
from tidemill.model.logs.owners import LogOwner, current_owner
from tidemill.model.wire import protocol, text_stream
from tidemill.model.wire.channel import Channel, exit_orphaned, is_disconnected


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
        self._last: LogOwner | None = None  # the owner of the last text written
        self._lock = threading.RLock()  # held while a process is started: its pipe must stay open for so long
        self._standard = _identity(1)

    def write(self, owner: LogOwner, text: str) -> None:
        """One thread at a time may call this. A cancel between two steps can only cut its own prediction's text."""
        data = text_stream.encode_text(text)
        if owner is not self._last:
            data = text_stream.marker(owner.ids) + data
        self._channel.printed = True
        try:
            while len(data) > (sent := os.write(self._text, data)):
                data = data[sent:]
        except OSError as error:
            if is_disconnected(error):
                exit_orphaned()
            raise
        self._last = owner

    def end(self, owner: LogOwner) -> None:
        """Close the owner's pipe: it starts no more processes. Later text of its processes has no owner."""
        if owner.pipe is not None:
            with self._lock:
                os.close(owner.pipe)
                owner.pipe = None
            self._channel.printed = True

    def rotate_standard(self) -> None:
        """Assign the text that C code has printed so far to the prediction that ends now."""
        c_streams.flush()
        if not c_streams.unread_bytes() or not self.is_standard(1):
            return
        with self._lock:
            reading, writing = os.pipe2(os.O_CLOEXEC)
            for descriptor in (1, 2):
                if self.is_standard(descriptor):
                    os.dup2(writing, descriptor)
            os.close(writing)
            self._standard = _identity(1)
        self._channel.put(protocol.pipe_frame(None, standard=True), [reading])

    def is_standard(self, descriptor: int) -> bool:
        """Return whether the descriptor is this process's standard pipe: a model may have replaced it by a file."""
        return self._standard is not None and _identity(descriptor) == self._standard

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock, shielded from cancels, while a process is started."""
        with self._shield, self._lock:
            yield

    def current_pipe(self) -> int:
        """Return the descriptor to which a process started now must write. The caller holds the lock."""
        owner = current_owner()
        if owner.pipe is None:
            reading, owner.pipe = os.pipe2(os.O_CLOEXEC)
            self._channel.send(protocol.pipe_frame(owner.ids), [reading])
        return owner.pipe

    def before_fork(self) -> None:
        self._shield.__enter__()
        self._lock.acquire()
        if self._standard is not None:
            self.current_pipe()

    def after_fork(self) -> None:
        """Run in the parent process after a fork."""
        self._lock.release()
        self._shield.leave_quietly()

    def disconnect(self) -> None:
        """Run in a forked process: it writes to its owner's pipe only."""
        pipe = current_owner().pipe
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
