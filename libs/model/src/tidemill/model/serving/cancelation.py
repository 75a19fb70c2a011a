"""When a cancel may interrupt synchronous model code: only inside the window, only the prediction it names, only once.
A call for several predictions is interrupted when all of them are canceled.

SIGUSR1 says that there is something to read on the control socket. Its handler runs on the main thread between any two
bytecodes, so it must never raise into the runtime's own code: a frame half written would end the instance.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, TypeVar

from cog import CancelationException
from tidemill.model.wire import protocol

Value = TypeVar("Value")

# Cancels that name no prediction known so far: one may overtake its run on the other socket, most are too late.
_EARLY_LIMIT: Final = 4096
_MISSING: Final = object()


def _nothing() -> None:
    """Nobody has predictions queued."""


class Cancelation:
    """As a context manager it shields the runtime's code that model code calls into (print, metrics)."""

    def __init__(self, control: socket.socket) -> None:
        # Called from the signal handler while predictions run and cancels came that do not end their call.
        self.withdraw_queued: Callable[[], None] = _nothing
        self.stopping = False
        self.delivered = False  # the running prediction has been interrupted
        self._control = control
        self._decoder = protocol.FrameDecoder()
        self._canceled: dict[str, object] = {}  # a set in order of arrival
        self._running: set[str] = set()
        self._open = False
        self._shields = 0
        self._signaled = False
        self._receiving = False
        self._main = threading.get_ident()

    def begin(self, prediction: str) -> bool:
        """False when it was canceled before it began."""
        if self.take(prediction):
            return False
        self.begin_all((prediction,))
        return True

    def begin_all(self, predictions: Iterable[str]) -> None:
        """They share a call; `take_some` tells which of them are canceled already."""
        self._open = False
        self.delivered = False
        self._running = set(predictions)

    def end(self) -> None:
        """After this no cancel finds what ran any more."""
        self._open = False
        running, self._running = self._running, set()
        for prediction in running:
            self._canceled.pop(prediction, None)

    def take_some(self) -> list[str]:
        """Those of the running that are canceled, taken out of their call; none where it is canceled as a whole.

        A signal may come between any two steps and bring the same question: each is answered to one asker only.
        """
        canceled = [prediction for prediction in tuple(self._running) if prediction in self._canceled]
        if len(canceled) == len(self._running):
            return []
        self._running.difference_update(canceled)
        return [prediction for prediction in canceled if self.take(prediction)]

    def call(self, function: Callable[[], Value]) -> Value:
        """The window: CancelationException may be raised anywhere inside, even in place of a value just computed."""
        # The signal may come between any two of these steps, so the caller catches as well. It cannot come twice:
        # `delivered` stays set until the next begin().
        try:
            self._open = True
            self._strike()
            return function()
        finally:
            self._open = False

    def take(self, prediction: str) -> bool:
        """Whether it is canceled; asked once, by whoever answers it."""
        return self._canceled.pop(prediction, _MISSING) is None

    def on_signal(self, _number: int, _frame: object) -> None:
        self.receive()
        self._strike()

    def receive(self) -> None:
        """Read what is on the control socket. A signal inside calls it again: the outer call reads all, in order."""
        self._signaled = True
        while self._signaled and not self._receiving:
            self._receiving = True
            self._signaled = False
            self._drain()
            if self._running and (len(self._running) > 1 or not self._running.issuperset(self._canceled)):
                self.withdraw_queued()
            self._receiving = False

    def _drain(self) -> None:
        while True:
            try:
                data = self._control.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                self.stopping = True  # nobody is left to work for
                return
            for body in self._decoder.feed(data):
                self._note(json.loads(body))

    def _note(self, frame: protocol.Frame) -> None:
        if frame["t"] == "stop":
            self.stopping = True
        elif frame["t"] == "cancel":
            self._canceled[frame["id"]] = None
            while len(self._canceled) > _EARLY_LIMIT:
                del self._canceled[next(iter(self._canceled))]

    def _strike(self) -> None:
        quiet = not self._shields and not self._receiving  # not even the handler itself may be torn apart
        if self._open and quiet and not self.delivered and self._running and self._canceled.keys() >= self._running:
            self.delivered = True
            raise CancelationException

    def __enter__(self) -> None:
        if threading.get_ident() == self._main:  # signals are handled on the main thread only
            self._shields += 1

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if threading.get_ident() == self._main:
            self._shields -= 1
            self._strike()

    def leave_quietly(self) -> None:
        """As __exit__, where nothing may be raised: whoever calls sees to it that a signal follows."""
        if threading.get_ident() == self._main:
            self._shields -= 1
