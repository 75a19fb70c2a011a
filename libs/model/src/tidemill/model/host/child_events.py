"""The events of a child process, and the ways in which it can end."""

import enum
import os
import socket
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from tidemill.model.wire.text_stream import OwnerIds


class Fault(enum.Enum):
    """A violation for which a child is killed at once."""

    PROTOCOL = enum.auto()  # it broke the rules of wire/protocol.py
    CLOSED = enum.auto()  # it closed the data socket and still runs
    FLOOD = enum.auto()  # it kept sending more than the read budget allows


@dataclass(frozen=True)
class ChildExit:
    """How a child ended: an exit code or a signal; neither if the zygote died first. If the worker killed it for a
    violation, `poisoned` is the reason in words and `fault` its kind.
    """

    code: int | None
    signal: int | None
    max_rss_kb: int | None = None
    poisoned: str | None = None
    fault: Fault | None = None


class ChildEvents(Protocol):
    """Receives the events of one child, in callbacks of the event loop. `on_exit` is the last call.

    Text of a prediction comes before its `done` frame. `on_text` gets it with its owner: predictions, setup (None) or
    no owner (empty); a prediction that has ended is no owner. `on_log_bytes` gets what C code of the process writes: it
    comes after the `done` frame of the previous prediction, so it belongs to the prediction that runs now.
    """

    def on_frames(self, bodies: list[bytes], files: deque[int]) -> None:
        """Handle frames. Pop one descriptor from the left of `files`, and close it, for each entry in a frame's
        "files".

        Raise ValueError if the child broke the protocol: it is killed then.
        """

    def on_text(self, ids: OwnerIds, text: str) -> None: ...

    def on_log_bytes(self, data: bytes) -> None: ...

    def on_exit(self, ended: ChildExit) -> None: ...


@dataclass(frozen=True)
class ChildEndpoints:
    """The worker's ends of sockets and pipes, all non-blocking."""

    data: socket.socket
    control: socket.socket
    log: int
    text: int

    def close(self) -> None:
        self.data.close()
        self.control.close()
        os.close(self.log)
        os.close(self.text)
