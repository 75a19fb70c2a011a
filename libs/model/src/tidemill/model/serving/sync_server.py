"""Runs predictions of a synchronous model: one at a time, in order of arrival, on the thread that ran setup.

The main thread reads the data socket itself: a reader thread would cost two switches of the interpreter lock per
prediction. No exception of a prediction may reach this loop, above all no late cancel.
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
from tidemill.model.introspection.load import LoadedModel
from tidemill.model.logs.owners import NO_OWNER, LogOwner, set_owner
from tidemill.model.logs.pipes import Pipes
from tidemill.model.logs.streams import Logs
from tidemill.model.serving.cancelation import Cancelation
from tidemill.model.serving.metrics import metric_sink
from tidemill.model.serving.results import ResultSender
from tidemill.model.values import outcomes
from tidemill.model.values.arguments import ArgumentBuilder
from tidemill.model.values.outcomes import ModelOutcome
from tidemill.model.wire import protocol
from tidemill.model.wire.channel import Channel

_END: Final = object()


class SyncServer:
    def __init__(
        self,
        loaded: LoadedModel,
        channel: Channel,
        logs: Logs,
        cancelation: Cancelation,
        pipes: Pipes,
    ) -> None:
        self._loaded = loaded
        self._arguments = ArgumentBuilder(loaded.signature, logs.secrets)
        self._shape = loaded.signature.output.shape
        self._channel = channel
        self._results = ResultSender(channel)
        self._logs = logs
        self._cancelation = cancelation
        self._pipes = pipes
        self._queued: deque[protocol.Frame] = deque()

    def serve(self) -> None:
        """Serve until a `stop` frame comes or the worker ends."""
        self._cancelation.withdraw_queued = self._withdraw_queued
        signal.signal(signal.SIGUSR1, self._cancelation.on_signal)
        self._cancelation.receive()  # cancels that came before the handler was set
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
        """Answer canceled predictions in the queue. Called by the signal handler while a prediction runs; until it
        ends, the loop uses neither socket nor queue.

        The worker takes back what it sent ahead, for another instance, so the answer must not wait.
        """
        try:
            bodies = self._channel.receive(socket.MSG_DONTWAIT) or []
        except BlockingIOError:
            bodies = []
        self._queued.extend(map(json.loads, bodies))
        withdrawn = [frame for frame in self._queued if self._cancelation.take_cancel(frame["id"])]
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
        owner = LogOwner((prediction,))
        set_owner(owner)
        set_scope(Scope(frame.get("context"), metric_sink(self._channel, prediction, owner, self._cancelation)))
        started = time.perf_counter()
        outcome = self._outcome(prediction, frame["input"])
        elapsed_ms = (time.perf_counter() - started) * 1000
        self._cancelation.end()
        set_scope(None)
        self._pipes.rotate_standard()
        self._logs.finish(owner)
        self._pipes.end(owner)
        set_owner(NO_OWNER)
        self._results.put_done(prediction, self._logs.secrets.redact_outcome(prediction, outcome), elapsed_ms)
        self._channel.flush()

    def _outcome(self, prediction: str, values: dict[str, Any]) -> ModelOutcome:
        try:
            arguments = self._arguments.build(prediction, values)
            value = self._cancelation.call(functools.partial(self._loaded.call, **arguments))
            iterates = self._loaded.is_generator or isinstance(value, GeneratorType)
            if iterates:
                self._stream(prediction, value)
            if self._cancelation.delivered:  # the model caught the exception and returned
                return outcomes.CANCELED_OUTCOME
            return outcomes.ITERATED_OUTCOME if iterates else outcomes.of_value(value, self._shape)
        except BaseException as error:  # noqa: BLE001  the boundary: even sys.exit() ends this prediction only
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
                iterator.close()  # runs its clean-up if the iteration stopped early
