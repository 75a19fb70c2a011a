"""What the owner of a child hears of it, and how a child can end."""

import enum
import os
import socket
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from tidemill.model.wire.text_stream import OwnerIds


class Fault(enum.Enum):
    """What a child is killed for at once."""

    PROTOCOL = enum.auto()
    CLOSED = enum.auto()  # its end of the data socket, and lives on
    FLOOD = enum.auto()  # it says more than is taken, without a break


@dataclass(frozen=True)
class ChildExit:
    """How it ended: an exit code or a signal; neither when the zygote died first. `poisoned` is why it was killed,
    `fault` what kind of reason that is.
    """

    code: int | None
    signal: int | None
    max_rss_kb: int | None = None
    poisoned: str | None = None
    fault: Fault | None = None


class ChildEvents(Protocol):
    """What the owner of a child hears, from callbacks of the event loop; after on_exit comes nothing.

    What a prediction prints comes before its `done` frame. `on_text` says whose it is: of those predictions, of set-up
    (None) or nobody's (no id); one that has ended by then is nobody. `on_log_bytes` is what C code of the process
    writes: it comes after the `done` of the prediction before, so it is that of what runs now.
    """

    def on_frames(self, bodies: list[bytes], files: deque[int]) -> None:
        """Take a descriptor off the left of `files`, and close it, for each entry in the "files" of a frame.

        ValueError says that the child broke the rules.
        """

    def on_text(self, ids: OwnerIds, text: str) -> None: ...

    def on_log_bytes(self, data: bytes) -> None: ...

    def on_exit(self, ended: ChildExit) -> None: ...


@dataclass(frozen=True)
class ChildEndpoints:
    """The worker's ends, all non-blocking."""

    data: socket.socket
    control: socket.socket
    log: int
    text: int

    def close(self) -> None:
        self.data.close()
        self.control.close()
        os.close(self.log)
        os.close(self.text)
