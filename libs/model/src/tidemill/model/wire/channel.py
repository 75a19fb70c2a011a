"""The child's end of the data socket: any thread may write frames with files, one thread reads.

It never interleaves two frames: threads take a lock, and a finalizer that prints during a write appends its frame.
"""

import errno
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from tidemill.model.wire import protocol

ORPHANED_EXIT_CODE: Final = 71  # the worker closed its end: no process reads what this one would write
CLOSED: Final = "it closed its connection to the worker"  # the worker reports this if a child closes the socket
_READ_BYTES: Final = 256 * 1024
# The worker has ended; or the model closed this descriptor, and its number may belong to another file by now.
_DISCONNECTED: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF, errno.ENOTSOCK})


class Channel:
    def __init__(self, data: socket.socket) -> None:
        self._data = data
        self._decoder = protocol.FrameDecoder()
        self._lock = threading.RLock()
        self._waiting: list[tuple[bytes, Sequence[int]]] = []
        self._writing = False
        self._connected = True
        self.printed = False  # text was written to a pipe since the last `printed` frame
        self.on_check: Callable[[], None] | None = None  # called when the worker sends a `check` frame

    def fileno(self) -> int:
        return self._data.fileno()

    def disconnect(self) -> None:
        """Disconnect a process that the model forked: it must not write as if it were the child."""
        self._lock = threading.RLock()  # another thread may have held it at the fork
        self._connected = False
        self._data.close()

    def put(self, frame: protocol.Frame, descriptors: Sequence[int] = ()) -> None:
        """Queue a frame for the next flush. `descriptors` are closed after they are sent. Raise as protocol.encode."""
        data = protocol.encode(frame)
        with self._lock:
            self._waiting.append((data, descriptors))

    def put_printed(self) -> None:
        """Queue a `printed` frame if text was written. Call it before a frame that ends a prediction or the boot."""
        if self.printed:
            self.printed = False
            with self._lock:
                self._waiting.append((protocol.HEADER.pack(len(protocol.PRINTED)) + protocol.PRINTED, ()))

    def send(self, frame: protocol.Frame, descriptors: Sequence[int] = ()) -> None:
        self.put(frame, descriptors)
        self.flush()

    def flush(self) -> None:
        """Write all queued frames. Block until the worker has taken them."""
        with self._lock:
            if self._writing:
                return  # called by a finalizer during the write below, whose loop writes its frame too
            self._writing = True
            try:
                while self._waiting:
                    waiting, self._waiting = self._waiting, []
                    if self._connected:
                        self._write(waiting)
            except OSError as error:
                if is_disconnected(error):
                    exit_orphaned()
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
        """Send each batch of descriptors with one byte of the frame, so that all arrive before its last byte."""
        sent = 0
        for first in range(0, len(descriptors), protocol.FILES_LIMIT_PER_MESSAGE):
            batch = descriptors[first : first + protocol.FILES_LIMIT_PER_MESSAGE]
            socket.send_fds(self._data, [data[sent : sent + 1]], list(batch))
            sent += 1
            for descriptor in batch:
                os.close(descriptor)
        return data[sent:]

    def receive(self, flags: int = 0) -> list[bytes] | None:
        """Flush, then read once, blocking unless `flags` say otherwise. Return completed bodies, None at the end."""
        self.flush()
        try:
            data = self._data.recv(_READ_BYTES, flags)
        except ConnectionError:
            return None
        except OSError as error:
            if is_disconnected(error):
                exit_orphaned()
            raise
        if not data:
            return None
        bodies = self._decoder.feed(data)
        while protocol.CHECK in bodies:
            bodies.remove(protocol.CHECK)
            if self.on_check is not None:
                self.on_check()
        return bodies


def is_disconnected(error: OSError) -> bool:
    """Return whether the error means that the worker has ended or that the socket is closed."""
    return error.errno in _DISCONNECTED


def exit_orphaned() -> NoReturn:
    os._exit(ORPHANED_EXIT_CODE)
