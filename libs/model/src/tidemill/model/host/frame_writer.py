"""The worker's writing end of a child's data socket: bounded, and never waited for."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from tidemill.model.wire import protocol

# A child that is busy takes nothing: all that a worker sends ahead, with inputs of the largest size.
_OUTGOING_LIMIT_BYTES: Final = 256 * 1024 * 1024


class FrameWriter:
    """Must be made inside a running event loop. It does not own the socket."""

    def __init__(self, data: socket.socket, on_overflow: Callable[[str], None]) -> None:
        """`on_overflow` is called with the reason when the child leaves more than the limit unread."""
        self._data = data
        self._on_overflow = on_overflow
        self._loop = asyncio.get_running_loop()
        self._fresh: list[bytes] = []
        self._unsent = bytearray()
        self._flush_due = False
        self._closed = False

    def send(self, body: bytes) -> None:
        """Queue a frame; all frames of one turn of the loop leave in one write. Do nothing after `close()`."""
        if self._closed:
            return
        self._fresh.append(protocol.HEADER.pack(len(body)) + body)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        self._flush_due = False
        data, self._fresh = b"".join(self._fresh), []
        if self._closed:
            return
        if self._unsent:
            self._keep(data)
            return
        sent = self._write(data)
        if sent < len(data):
            self._keep(memoryview(data)[sent:])
            self._loop.add_writer(self._data.fileno(), self._on_writable)

    def _write(self, data: bytes | bytearray) -> int:
        try:
            return self._data.send(data)
        except BlockingIOError:
            return 0
        except ConnectionError:  # the child is dying; its exit is reported separately
            return len(data)

    def _keep(self, data: bytes | memoryview) -> None:
        self._unsent += data
        if len(self._unsent) > _OUTGOING_LIMIT_BYTES:
            self._on_overflow("it does not take what it is sent")

    def _on_writable(self) -> None:
        del self._unsent[: self._write(self._unsent)]
        if not self._unsent:
            self._loop.remove_writer(self._data.fileno())

    def close(self) -> None:
        self._loop.remove_writer(self._data.fileno())
        self._closed = True
