"""The child's end of the data socket: whole frames out, with their files, from any thread; bytes in, on one thread.

It never splits one frame with another, whoever interrupts whom: threads by a lock, finalizers that print while a write
is under way by appending behind it.
"""

import errno
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from tidemill.model.wire import protocol

ORPHANED_EXIT_CODE: Final = 71  # the worker closed its end; nobody reads what this process could say
CLOSED: Final = "it closed its connection to the worker"  # what is said then, if a worker is left
_READ_BYTES: Final = 256 * 1024
# The worker is gone; or the model closed descriptors that were not its own, and something else may have the number.
_LOST: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF, errno.ENOTSOCK})


class Channel:
    def __init__(self, data: socket.socket) -> None:
        self._data = data
        self._decoder = protocol.FrameDecoder()
        self._lock = threading.RLock()
        self._waiting: list[tuple[bytes, Sequence[int]]] = []
        self._writing = False
        self._connected = True
        self.printed = False  # something was written to a pipe since the last `printed`
        self.on_check: Callable[[], None] | None = None  # when the worker asks whether the model is well

    def fileno(self) -> int:
        return self._data.fileno()

    def disconnect(self) -> None:
        """For a process that the model forked: it must not talk in the child's place."""
        self._lock = threading.RLock()  # another thread may have held it at the fork
        self._connected = False
        self._data.close()

    def put(self, frame: protocol.Frame, descriptors: Sequence[int] = ()) -> None:
        """Queue a frame for the next flush; `descriptors` are closed once they are sent. Raises as protocol.encode."""
        data = protocol.encode(frame)
        with self._lock:
            self._waiting.append((data, descriptors))

    def put_printed(self) -> None:
        """Before a frame that says that something is over."""
        if self.printed:
            self.printed = False
            with self._lock:
                self._waiting.append((protocol.HEADER.pack(len(protocol.PRINTED)) + protocol.PRINTED, ()))

    def send(self, frame: protocol.Frame, descriptors: Sequence[int] = ()) -> None:
        self.put(frame, descriptors)
        self.flush()

    def flush(self) -> None:
        """Write all that was put, waiting for the worker to take it."""
        with self._lock:
            if self._writing:
                return  # a finalizer inside the write below: the loop there takes what it put
            self._writing = True
            try:
                while self._waiting:
                    waiting, self._waiting = self._waiting, []
                    if self._connected:
                        self._write(waiting)
            except OSError as error:
                if lost(error):
                    leave()
                raise
            finally:
                self._writing = False

    def _write(self, waiting: list[tuple[bytes, Sequence[int]]]) -> None:
        if len(waiting) == 1 and not waiting[0][1]:
            self._data.sendall(waiting[0][0])
            return
        plain: list[bytes] = []
        for data, descriptors in waiting:
            rest = data
            if descriptors:
                self._data.sendall(b"".join(plain))
                plain.clear()
                rest = self._write_with(data, descriptors)
            plain.append(rest)
        self._data.sendall(b"".join(plain))

    def _write_with(self, data: bytes, descriptors: Sequence[int]) -> bytes:
        """One byte of the frame carries each batch of descriptors, so that all are there before its last byte is."""
        sent = 0
        for first in range(0, len(descriptors), protocol.FILES_LIMIT_PER_MESSAGE):
            batch = descriptors[first : first + protocol.FILES_LIMIT_PER_MESSAGE]
            socket.send_fds(self._data, [data[sent : sent + 1]], list(batch))
            sent += 1
            for descriptor in batch:
                os.close(descriptor)
        return data[sent:]

    def receive(self, flags: int = 0) -> list[bytes] | None:
        """Flush, then wait for bytes (unless `flags` say otherwise): the bodies they complete, None at the end."""
        self.flush()
        try:
            data = self._data.recv(_READ_BYTES, flags)
        except ConnectionError:
            return None
        except OSError as error:
            if lost(error):
                leave()
            raise
        if not data:
            return None
        bodies = self._decoder.feed(data)
        while protocol.CHECK in bodies:
            bodies.remove(protocol.CHECK)
            if self.on_check is not None:
                self.on_check()
        return bodies


def lost(error: OSError) -> bool:
    """Whether nobody is left to talk to, or nothing to talk with."""
    return error.errno in _LOST


def leave() -> NoReturn:
    os._exit(ORPHANED_EXIT_CODE)
