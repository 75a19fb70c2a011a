"""Predictions of a synchronous model: one at a time, in order of arrival, on the thread that ran setup.

The main thread itself waits on the data socket: a reader thread would cost two switches of the interpreter lock for
each prediction. Nothing of a prediction's may escape into this loop, least of all a late cancel.
"""

import functools
import json
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator
from types import GeneratorType
from typing import Any, Final

from cog._scope import Scope, set_scope
from tidemill.model.introspection.load import Loaded
from tidemill.model.logs.owners import NOBODY, Owner, become
from tidemill.model.logs.pipes import Pipes
from tidemill.model.logs.streams import Logs
from tidemill.model.serving.cancelation import Cancelation
from tidemill.model.serving.metrics import metric_sink
from tidemill.model.serving.results import Results
from tidemill.model.values import outcomes
from tidemill.model.values.arguments import Arguments
from tidemill.model.values.outcomes import Outcome
from tidemill.model.wire import protocol
from tidemill.model.wire.channel import Channel

_END: Final = object()


class SyncServer:
    def __init__(
        self,
        loaded: Loaded,
        channel: Channel,
        logs: Logs,
        cancelation: Cancelation,
        pipes: Pipes,
    ) -> None:
        self._loaded = loaded
        self._arguments = Arguments(loaded.signature, logs.secrets)
        self._shape = loaded.signature.output.shape
        self._channel = channel
        self._results = Results(channel)
        self._logs = logs
        self._cancelation = cancelation
        self._pipes = pipes
        self._queued: deque[protocol.Frame] = deque()

    def serve(self) -> None:
        """Until `stop`, or until the worker is gone."""
        self._cancelation.withdraw_queued = self._withdraw_queued
        signal.signal(signal.SIGUSR1, self._cancelation.on_signal)
        self._cancelation.receive()  # what came before there was a handler
        while not self._cancelation.stopping:
            if not self._queued and not self._wait():
                return
            while self._queued and not self._cancelation.stopping:
                self._run(self._queued.popleft())
        self._channel.flush()

    def _wait(self) -> bool:
        bodies = self._channel.receive()
        if bodies is None:
            return False
        self._queued.extend(map(json.loads, bodies))
        return True

    def _withdraw_queued(self) -> None:
        """In the signal handler, while a prediction runs: the loop touches neither socket nor queue before it ends.

        The worker asks back what it sent ahead, to give it to another instance, so the answer must not wait.
        """
        try:
            bodies = self._channel.receive(socket.MSG_DONTWAIT) or []
        except BlockingIOError:
            bodies = []
        self._queued.extend(map(json.loads, bodies))
        withdrawn = [frame for frame in self._queued if self._cancelation.take(frame["id"])]
        for frame in withdrawn:
            self._queued.remove(frame)
            self._results.put_done(frame["id"], outcomes.CANCELED_OUTCOME, 0.0)
        self._channel.flush()

    def _run(self, frame: protocol.Frame) -> None:
        prediction: str = frame["id"]
        if not self._cancelation.begin(prediction):
            self._results.put_done(prediction, outcomes.CANCELED_OUTCOME, 0.0)
            self._channel.flush()
            return
        owner = Owner((prediction,))
        become(owner)
        set_scope(Scope(frame.get("context"), metric_sink(self._channel, prediction, owner, self._cancelation)))
        started = time.perf_counter()
        outcome = self._outcome(prediction, frame["input"])
        elapsed_ms = (time.perf_counter() - started) * 1000
        self._cancelation.end()
        set_scope(None)
        self._pipes.settle_standard()
        self._logs.finish(owner)
        self._pipes.end(owner)
        become(NOBODY)
        self._results.put_done(prediction, self._logs.secrets.end(prediction, outcome), elapsed_ms)
        self._channel.flush()

    def _outcome(self, prediction: str, values: dict[str, Any]) -> Outcome:
        try:
            arguments = self._arguments.of(prediction, values)
            value = self._cancelation.call(functools.partial(self._loaded.call, **arguments))
            iterates = self._loaded.is_generator or isinstance(value, GeneratorType)
            if iterates:
                self._stream(prediction, value)
            if self._cancelation.delivered:  # the model swallowed it, and ended
                return outcomes.CANCELED_OUTCOME
            return outcomes.ITERATED_OUTCOME if iterates else outcomes.of_value(value, self._shape)
        except BaseException as error:  # noqa: BLE001  the boundary: sys.exit() too ends this prediction only
            return outcomes.of_error(error, canceled=self._cancelation.delivered)

    def _stream(self, prediction: str, values: Any) -> None:
        iterator: Iterator[Any] = iter(values)
        step = functools.partial(next, iterator, _END)
        try:
            while (item := self._cancelation.call(step)) is not _END:
                self._results.put_item(prediction, item, self._shape)
                self._channel.flush()
        finally:
            if isinstance(iterator, GeneratorType):
                iterator.close()  # its own clean-up, when we stop in the middle
