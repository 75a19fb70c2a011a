"""Decides when a cancel interrupts synchronous model code: inside `call()` only, for its own prediction only, once.
A call for several predictions is interrupted when all of them are canceled.

SIGUSR1 announces data on the control socket. Its handler runs on the main thread between any two bytecodes, so it must
never raise inside the runtime's own code: a half-written frame would end the instance.
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

# Cancels of unknown predictions that are kept: a cancel may arrive before its run, which uses the other socket.
_EARLY_LIMIT: Final = 4096
_MISSING: Final = object()


def _do_nothing() -> None:
    """The default: no server has predictions queued."""


class Cancelation:
    """As a context manager it shields code of the runtime that model code calls: print and metrics."""

    def __init__(self, control: socket.socket) -> None:
        # Called by the signal handler if predictions run and the cancels do not end their call.
        self.withdraw_queued: Callable[[], None] = _do_nothing
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
        """Begin a prediction. Return False if it is canceled already."""
        if self.take_cancel(prediction):
            return False
        self.begin_all((prediction,))
        return True

    def begin_all(self, predictions: Iterable[str]) -> None:
        """Begin predictions that share a call. `take_canceled` returns those that are canceled already."""
        self._open = False
        self.delivered = False
        self._running = set(predictions)

    def end(self) -> None:
        """End the running predictions: later cancels have no effect on them."""
        self._open = False
        running, self._running = self._running, set()
        for prediction in running:
            self._canceled.pop(prediction, None)

    def take_canceled(self) -> list[str]:
        """Remove the canceled predictions from their call and return them; none if all of them are canceled.

        A signal between any two steps may call this again: each prediction is returned to one caller only.
        """
        canceled = [prediction for prediction in tuple(self._running) if prediction in self._canceled]
        if len(canceled) == len(self._running):
            return []
        self._running.difference_update(canceled)
        return [prediction for prediction in canceled if self.take_cancel(prediction)]

    def call(self, function: Callable[[], Value]) -> Value:
        """Call model code. CancelationException may be raised anywhere inside, even after the value is computed."""
        # The signal may come between any two of these steps, so the caller must catch it too. It is raised once:
        # `delivered` stays set until the next begin().
        try:
            self._open = True
            self._raise_if_canceled()
            return function()
        finally:
            self._open = False

    def take_cancel(self, prediction: str) -> bool:
        """Return whether the prediction is canceled, and forget the cancel: the caller sends the result."""
        return self._canceled.pop(prediction, _MISSING) is None

    def on_signal(self, _number: int, _frame: object) -> None:
        self.receive()
        self._raise_if_canceled()

    def receive(self) -> None:
        """Read the control socket. A signal may call this again meanwhile: the outer call then reads on, in order."""
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
                self.stopping = True  # the worker has ended
                return
            for body in self._decoder.feed(data):
                self._handle(json.loads(body))

    def _handle(self, frame: protocol.Frame) -> None:
        if frame["t"] == "stop":
            self.stopping = True
        elif frame["t"] == "cancel":
            self._canceled[frame["id"]] = None
            while len(self._canceled) > _EARLY_LIMIT:
                del self._canceled[next(iter(self._canceled))]

    def _raise_if_canceled(self) -> None:
        allowed = not self._shields and not self._receiving  # nor inside the handler itself
        if self._open and allowed and not self.delivered and self._running and self._canceled.keys() >= self._running:
            self.delivered = True
            raise CancelationException

    def __enter__(self) -> None:
        if threading.get_ident() == self._main:  # Python runs signal handlers on the main thread only
            self._shields += 1

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if threading.get_ident() == self._main:
            self._shields -= 1
            self._raise_if_canceled()

    def leave_quietly(self) -> None:
        """As __exit__, but raise nothing. The caller must send the signal again."""
        if threading.get_ident() == self._main:
            self._shields -= 1
