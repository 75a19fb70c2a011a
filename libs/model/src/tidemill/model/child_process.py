"""The worker's end of one child: frames and log bytes in, frames and cancels out, kill, and the end.

It treats whatever comes from the child as hostile: bounded reads a turn of the loop, bounded buffers, descriptors
counted; a child that breaks the rules is poisoned, which means killed. It decodes no frame.
"""

import array
import asyncio
import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from tidemill.model import protocol

_READ_BYTES: Final = 256 * 1024  # one turn of the loop; a full socket buffer
_LOG_READ_BYTES: Final = 64 * 1024  # a full pipe
_FINAL_READS: Final = 256  # after the end a process left behind may still write; 16 MiB of log are enough
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(protocol.FILES_LIMIT_PER_MESSAGE * 4)
# Descriptors not yet claimed by a frame: one full frame and what the next read brings with it.
_PENDING_FILES_LIMIT: Final = protocol.FRAME_LIMIT_FILES + protocol.FILES_LIMIT_PER_MESSAGE
# A child that is busy takes nothing: all that a worker sends ahead, with inputs of the largest size.
_OUTGOING_LIMIT_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True)
class Exit:
    """How it ended: an exit code or a signal; neither when the zygote died first. `poisoned` is why it was killed."""

    code: int | None
    signal: int | None
    max_rss_kb: int | None = None
    poisoned: str | None = None


class ChildEvents(Protocol):
    """What the owner of a child hears, from callbacks of the event loop; after on_exit comes nothing.

    What a prediction wrote to the pipe comes before its `done` frame (the child sees to that, and waits where it must)
    and after the `done` of the one before: the text is that of a prediction running now.
    """

    def on_frames(self, bodies: list[bytes], files: deque[int]) -> None:
        """Take a descriptor off the left of `files`, and close it, for each entry in the "files" of a frame.

        ValueError says that the child broke the rules.
        """

    def on_log_bytes(self, data: bytes) -> None: ...

    def on_exit(self, ended: Exit) -> None: ...


@dataclass(frozen=True)
class Ends:
    """The worker's ends, all non-blocking."""

    data: socket.socket
    control: socket.socket
    log: int

    def close(self) -> None:
        self.data.close()
        self.control.close()
        os.close(self.log)


class ChildProcess:
    """Must be made inside a running event loop."""

    def __init__(self, pid: int, pidfd: int, ends: Ends, events: ChildEvents) -> None:
        self.pid = pid
        self.poisoned: str | None = None
        self._pidfd = pidfd
        self._ends = ends
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._decoder = protocol.Decoder()
        self._files: deque[int] = deque()
        self._fresh: list[bytes] = []
        self._unsent = bytearray()
        self._flush_due = False
        self._ended = False
        self._receive: Callable[[int, int, int], tuple[bytes, list[tuple[int, int, bytes]], int, object]]
        self._receive = ends.data.recvmsg
        self._loop.add_reader(ends.data.fileno(), self._on_data)
        self._loop.add_reader(ends.log, self._on_log)

    # Out

    def send(self, body: bytes) -> None:
        """A frame for the data socket; what is sent in one turn of the loop leaves in one write."""
        if self._ended:
            return
        self._fresh.append(protocol.HEADER.pack(len(body)) + body)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        data, self._fresh = b"".join(self._fresh), []
        if self._ended:
            return
        if self._unsent:
            self._keep(data)
            return
        sent = self._write(data)
        if sent < len(data):
            self._keep(memoryview(data)[sent:])
            self._loop.add_writer(self._ends.data.fileno(), self._on_writable)

    def _write(self, data: bytes | bytearray) -> int:
        try:
            return self._ends.data.send(data)
        except BlockingIOError:
            return 0
        except ConnectionError:  # it is dying; its end comes by its own way
            return len(data)

    def _keep(self, data: bytes | memoryview) -> None:
        self._unsent += data
        if len(self._unsent) > _OUTGOING_LIMIT_BYTES:
            self.poison("it does not take what it is sent")

    def _on_writable(self) -> None:
        del self._unsent[: self._write(self._unsent)]
        if not self._unsent:
            self._loop.remove_writer(self._ends.data.fileno())

    def cancel(self, prediction: str) -> None:
        """Ask it to stop a prediction that runs or waits; the answer is its `done` frame."""
        self._control({"t": "cancel", "id": prediction})

    def stop(self) -> None:
        """Ask it to finish what runs and exit; it leaves what it has not begun."""
        self._flush()
        self._control({"t": "stop"})
        if not self._ended:
            with contextlib.suppress(OSError):
                # Also wakes a child that waits for work: between looking and waiting it could miss the signal.
                self._ends.data.shutdown(socket.SHUT_WR)

    def _control(self, frame: protocol.Frame) -> None:
        if self._ended:
            return
        data = protocol.encode(frame)
        try:
            sent = self._ends.control.send(data)
        except BlockingIOError:
            return  # it has not listened for thousands of cancels; whoever waits for the answer kills it in time
        except ConnectionError:
            return
        if sent < len(data):
            self.poison("it does not read its control socket")
        self._signal(signal.SIGUSR1)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def poison(self, reason: str) -> None:
        """It broke the rules: nothing more is read, and it is killed."""
        if self.poisoned is None and not self._ended:
            self.poisoned = reason
            self._stop_reading()
            self.kill()

    def _signal(self, number: int) -> None:
        if not self._ended:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    # In

    def _on_data(self) -> None:
        try:
            data, ancillary, flags, _ = self._receive(_READ_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except ConnectionError:
            data, ancillary, flags = b"", [], 0
        if ancillary or flags & socket.MSG_CTRUNC:
            self._take_files(ancillary, truncated=bool(flags & socket.MSG_CTRUNC))
        if not data:
            # A child without its socket is of no use; one that has ended keeps its own exit status.
            self._loop.remove_reader(self._ends.data.fileno())
            self.kill()
        else:
            self._deliver(data)

    def _deliver(self, data: bytes) -> None:
        try:
            bodies = self._decoder.feed(data)
            if bodies and self.poisoned is None:
                self._events.on_frames(bodies, self._files)
        except ValueError as error:
            self.poison(str(error))

    def _take_files(self, ancillary: list[tuple[int, int, bytes]], *, truncated: bool) -> None:
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                files = array.array("i")
                files.frombytes(content[: len(content) - len(content) % files.itemsize])
                self._files.extend(files)
        if truncated or len(self._files) > _PENDING_FILES_LIMIT:
            self.poison("it sent more files than it announced")

    def _on_log(self) -> None:
        self._on_data()  # the end of one prediction must not seem to follow what the next one writes
        if self.poisoned is not None:
            return
        try:
            data = os.read(self._ends.log, _LOG_READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._events.on_log_bytes(data)
        else:
            self._loop.remove_reader(self._ends.log)

    # The end

    def watch_end(self) -> None:
        """For the case that no zygote is left to tell: kill it, and hear of its end from the kernel."""
        self.kill()
        if not self._ended:
            self._loop.add_reader(self._pidfd, self.finish, None, None, None)

    def finish(self, code: int | None, number: int | None, max_rss_kb: int | None) -> None:
        """The process is gone; what it wrote before is delivered first."""
        if self._ended:
            return
        self._loop.remove_reader(self._pidfd)
        if self.poisoned is None:
            self._read_rest()
        self._stop_reading()
        self._loop.remove_writer(self._ends.data.fileno())
        self._ended = True
        self._ends.close()
        os.close(self._pidfd)
        self._events.on_exit(Exit(code, number, max_rss_kb, self.poisoned))
        for descriptor in self._files:
            os.close(descriptor)
        self._files.clear()

    def _read_rest(self) -> None:
        for _ in range(_FINAL_READS):
            try:
                data, ancillary, flags, _ = self._receive(_READ_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
            except (BlockingIOError, ConnectionError):
                break
            self._take_files(ancillary, truncated=bool(flags & socket.MSG_CTRUNC))
            if not data:
                break
            self._deliver(data)
        for _ in range(_FINAL_READS):
            with contextlib.suppress(BlockingIOError):
                if data := os.read(self._ends.log, _LOG_READ_BYTES):
                    self._events.on_log_bytes(data)
                    continue
            break

    def _stop_reading(self) -> None:
        self._loop.remove_reader(self._ends.data.fileno())
        self._loop.remove_reader(self._ends.log)
