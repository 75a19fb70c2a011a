"""The worker's end of one child: reads frames and text, sends frames and cancels, kills it, reports its exit.

It trusts nothing from the child: reads are bounded per turn of the loop and per second, buffers are bounded,
descriptors are counted. A child that breaks the protocol is poisoned: killed, with a reason. It decodes frames about
pipes only.
"""

import array
import asyncio
import contextlib
import os
import signal
import socket
from collections import deque
from typing import Final

from tidemill.model.host import process_state
from tidemill.model.host.child_events import ChildEndpoints, ChildEvents, ChildExit, Fault
from tidemill.model.host.frame_writer import FrameWriter
from tidemill.model.host.pipe_reader import PipeReader
from tidemill.model.host.read_budget import FLOODED, ReadBudget
from tidemill.model.wire import protocol
from tidemill.model.wire.channel import CLOSED

_READ_BYTES: Final = 256 * 1024  # per turn of the loop; a full socket buffer
_FRAMES_PER_TURN: Final = 256  # other children wait meanwhile; a full buffer may hold ten thousand
_FINAL_READS: Final = 16  # after the exit: more than the kernel's buffers hold
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(protocol.FILES_LIMIT_PER_MESSAGE * 4)
# Descriptors not yet claimed by a frame: those of one full frame and of the next read.
_PENDING_FILES_LIMIT: Final = protocol.FRAME_LIMIT_FILES + protocol.FILES_LIMIT_PER_MESSAGE


class ChildProcess:
    """Must be made inside a running event loop."""

    def __init__(self, pid: int, pidfd: int, endpoints: ChildEndpoints, events: ChildEvents) -> None:
        self.pid = pid
        self.poisoned: str | None = None
        self._fault: Fault | None = None
        self._pidfd = pidfd
        self._endpoints = endpoints
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._decoder = protocol.FrameDecoder()
        self._files: deque[int] = deque()
        self._writer = FrameWriter(endpoints.data, self.poison)
        self._ended = False
        self._received: deque[bytes] = deque()  # frames not yet delivered
        self._received_bytes = 0
        self._delivery_due = False
        self._hung_up = False
        self._budget = ReadBudget()
        self._paused: asyncio.TimerHandle | None = None
        self._receive = endpoints.data.recvmsg
        self._pipes = PipeReader(endpoints.text, endpoints.log, events, self)
        self._resume_reading()

    # Sending

    def send(self, body: bytes) -> None:
        """Queue a frame for the data socket; all frames of one turn of the loop leave in one write."""
        self._writer.send(body)

    def cancel(self, prediction: str) -> None:
        """Ask the child to cancel a prediction, running or queued. The answer is its `done` frame."""
        self._send_control({"t": "cancel", "id": prediction})

    def stop(self) -> None:
        """Ask the child to finish what runs and to exit. It does not begin queued predictions."""
        self._writer.flush()
        self._send_control({"t": "stop"})
        if not self._ended:
            with contextlib.suppress(OSError):
                # This also wakes a child that waits for a frame: it could miss the signal just before it waits.
                self._endpoints.data.shutdown(socket.SHUT_WR)

    def _send_control(self, frame: protocol.Frame) -> None:
        if self._ended:
            return
        data = protocol.encode(frame)
        try:
            sent = self._endpoints.control.send(data)
        except BlockingIOError:
            return  # it has left thousands of cancels unread; the caller kills it when its deadline is over
        except ConnectionError:
            return
        if sent < len(data):
            self.poison("it does not read its control socket")
        self._signal(signal.SIGUSR1)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def poison(self, reason: str, fault: Fault = Fault.PROTOCOL) -> None:
        """Kill a child that broke the protocol, and read no more from it."""
        if self.poisoned is None and not self._ended:
            self.poisoned, self._fault = reason, fault
            self._stop_reading()
            self.kill()

    def _signal(self, number: int) -> None:
        if not self._ended:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    # Reading

    def _resume_reading(self) -> None:
        self._paused = None
        if self.poisoned is None and not self._ended:
            self._pipes.resume()
            if self._received:
                self._deliver_later()
            elif not self._hung_up:
                self._loop.add_reader(self._endpoints.data.fileno(), self._on_data)

    def _stop_reading(self) -> None:
        self._loop.remove_reader(self._endpoints.data.fileno())
        self._pipes.pause()

    def spend(self, frames: int, size: int) -> None:
        """Charge a read to the child's budget. Over the budget the child is not read for a while, so it blocks."""
        now = self._loop.time()
        pause_s = self._budget.spend(frames, size, now)
        if pause_s and self._paused is None and self.poisoned is None and not self._ended:
            if self._budget.floods(now):
                self.poison(FLOODED, Fault.FLOOD)
                return
            self._stop_reading()
            self._paused = self._loop.call_later(pause_s, self._resume_reading)

    def _on_data(self) -> None:
        self._receive_some()
        self._deliver_some()

    def _receive_some(self) -> None:
        try:
            data, ancillary, flags, _ = self._receive(_READ_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except ConnectionError:
            data, ancillary, flags = b"", [], 0
        if ancillary or flags & socket.MSG_CTRUNC:
            self._take_files(ancillary, truncated=bool(flags & socket.MSG_CTRUNC))
        if not data:
            self._on_hang_up()
            return
        self._received_bytes += len(data)
        try:
            self._received.extend(self._decoder.feed(data))
        except ValueError as error:
            self.poison(str(error))

    def _on_hang_up(self) -> None:
        """Handle a closed data socket: kill a child that still runs; one that is ending keeps its own exit status."""
        self._hung_up = True
        self._loop.remove_reader(self._endpoints.data.fileno())
        if self._is_ending():
            self.kill()
        else:
            self.poison(CLOSED, Fault.CLOSED)

    def _is_ending(self) -> bool:
        try:
            signal.pidfd_send_signal(self._pidfd, 0)
        except ProcessLookupError:
            return True
        return process_state.is_ending(self.pid)

    def _deliver_some(self) -> None:
        """Deliver a limited number of frames per turn of the loop, so that other children get theirs."""
        bodies = [self._received.popleft() for _ in range(min(len(self._received), _FRAMES_PER_TURN))]
        if self._received:
            self._loop.remove_reader(self._endpoints.data.fileno())
            self._deliver_later()
        size, self._received_bytes = self._received_bytes, 0
        self._deliver(bodies)
        self.spend(len(bodies), size)

    def _deliver_later(self) -> None:
        if not self._delivery_due:
            self._delivery_due = True
            self._loop.call_soon(self._deliver_rest)

    def _deliver_rest(self) -> None:
        self._delivery_due = False
        if self._paused is None and self.poisoned is None and not self._ended:
            self._deliver_some()
            if not self._received and self._paused is None:
                self._resume_reading()

    def _deliver(self, bodies: list[bytes]) -> None:
        """Deliver frames in order. Frames about pipes go to the pipe reader."""
        first = 0
        try:
            for at, body in enumerate(bodies):
                if body.startswith(protocol.PIPE_FRAMES):
                    self._dispatch(bodies[first:at])
                    first = at + 1
                    self._pipes.on_frame(body, self._files)
            self._dispatch(bodies[first:] if first else bodies)
        except ValueError as error:
            self.poison(str(error))

    def _dispatch(self, bodies: list[bytes]) -> None:
        if bodies and self.poisoned is None:
            self._events.on_frames(bodies, self._files)

    def _take_files(self, ancillary: list[tuple[int, int, bytes]], *, truncated: bool) -> None:
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                files = array.array("i")
                files.frombytes(content[: len(content) - len(content) % files.itemsize])
                self._files.extend(files)
        if truncated or len(self._files) > _PENDING_FILES_LIMIT:
            self.poison("it sent more files than it announced")

    def may_read_standard(self) -> bool:
        """Handle pending frames first, so that text of C code is not taken for that of the prediction before."""
        if not self._received and not self._hung_up:
            self._on_data()
        return not self._received and self._paused is None and self.poisoned is None

    # Exit

    def kill_and_watch(self) -> None:
        """Kill the child after its zygote has died, and let the kernel report its exit."""
        self.kill()
        if not self._ended:
            self._loop.add_reader(self._pidfd, self.finish, None, None, None)

    def finish(self, code: int | None, number: int | None, max_rss_kb: int | None) -> None:
        """Report the exit of the process, after delivering what it wrote before."""
        if self._ended:
            return
        self._loop.remove_reader(self._pidfd)
        if self.poisoned is None:
            self._read_rest()
        self._stop_reading()
        if self._paused is not None:
            self._paused.cancel()
        self._writer.close()
        self._ended = True
        self._pipes.close()
        self._endpoints.data.close()
        self._endpoints.control.close()
        os.close(self._pidfd)
        self._events.on_exit(ChildExit(code, number, max_rss_kb, self.poisoned, self._fault))
        for descriptor in self._files:
            os.close(descriptor)
        self._files.clear()

    def _read_rest(self) -> None:
        for _ in range(_FINAL_READS):
            before = len(self._received)
            if not self._hung_up:
                self._receive_some()
            if len(self._received) == before:
                break
        bodies, self._received = list(self._received), deque()
        self._deliver(bodies)
        self._pipes.read_rest()
