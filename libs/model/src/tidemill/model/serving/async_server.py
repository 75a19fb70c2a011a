"""Runs predictions of an asynchronous model: up to `concurrency` at once, on the event loop that ran its setup.

Each `run` frame gets exactly one `done` frame, even if its task is canceled before the first step.
"""

import asyncio
import contextlib
import inspect
import json
import socket
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from cog._scope import Scope, set_scope
from tidemill.model.introspection.load import LoadedModel
from tidemill.model.logs.owners import LogOwner, set_owner
from tidemill.model.logs.pipes import Pipes
from tidemill.model.logs.streams import Logs
from tidemill.model.serving.metrics import metric_sink
from tidemill.model.serving.results import ResultSender
from tidemill.model.values import outcomes
from tidemill.model.values.arguments import ArgumentBuilder
from tidemill.model.values.outcomes import ModelOutcome
from tidemill.model.wire import protocol
from tidemill.model.wire.channel import Channel

# Cancels of unknown predictions that are kept: a cancel may arrive before its run, which uses the other socket.
_EARLY_LIMIT: Final = 4096


@dataclass
class _PredictionTask:
    task: "asyncio.Task[None] | None" = None
    started: bool = False
    canceled: bool = False


class AsyncServer:
    def __init__(
        self,
        loaded: LoadedModel,
        channel: Channel,
        control: socket.socket,
        logs: Logs,
        pipes: Pipes,
        *,
        concurrency: int,
    ) -> None:
        self._loaded = loaded
        self._arguments = ArgumentBuilder(loaded.signature, logs.secrets)
        self._shape = loaded.signature.output.shape
        self._channel = channel
        self._results = ResultSender(channel)
        self._control = control
        self._control_decoder = protocol.FrameDecoder()
        self._concurrency = concurrency
        self._logs = logs
        self._pipes = pipes
        self._queued: deque[protocol.Frame] = deque()
        self._running: dict[str, _PredictionTask] = {}
        self._early: dict[str, None] = {}
        self._stopping = False
        self._flush_due = False
        self._finished = asyncio.Event()

    async def serve(self) -> None:
        """Serve until a `stop` frame comes, or the worker ends, and all running predictions have ended."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel.fileno(), self._on_data)
        loop.add_reader(self._control.fileno(), self._on_control)
        try:
            await self._finished.wait()
        finally:
            loop.remove_reader(self._channel.fileno())
            loop.remove_reader(self._control.fileno())
            self._channel.flush()

    def _on_data(self) -> None:
        try:
            bodies = self._channel.receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if bodies is None:
            self._stop()
            return
        self._queued.extend(json.loads(body) for body in bodies)
        self._start_some()

    def _on_control(self) -> None:
        try:
            data = self._control.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._stop()
        for body in self._control_decoder.feed(data):
            frame = json.loads(body)
            if frame["t"] == "stop":
                self._stop()
            elif frame["t"] == "cancel":
                self._cancel(frame["id"])

    def _stop(self) -> None:
        self._stopping = True
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._channel.fileno())
        loop.remove_reader(self._control.fileno())
        if not self._running:
            self._finished.set()

    def _cancel(self, prediction: str) -> None:
        running = self._running.get(prediction)
        if running is None:
            self._cancel_waiting(prediction)
        elif not running.canceled:
            running.canceled = True
            if running.started and running.task is not None:
                running.task.cancel()

    def _cancel_waiting(self, prediction: str) -> None:
        for frame in self._queued:
            if frame["id"] == prediction:
                self._queued.remove(frame)
                self._answer(prediction, outcomes.CANCELED_OUTCOME, 0.0)
                return
        self._early[prediction] = None
        while len(self._early) > _EARLY_LIMIT:
            del self._early[next(iter(self._early))]

    def _start_some(self) -> None:
        while self._queued and len(self._running) < self._concurrency and not self._stopping:
            frame = self._queued.popleft()
            prediction = frame["id"]
            if prediction in self._early:
                del self._early[prediction]
                self._answer(prediction, outcomes.CANCELED_OUTCOME, 0.0)
                continue
            running = self._running[prediction] = _PredictionTask()
            running.task = asyncio.get_running_loop().create_task(self._run(frame, running), name=prediction)

    async def _run(self, frame: protocol.Frame, running: _PredictionTask) -> None:
        prediction: str = frame["id"]
        owner = LogOwner((prediction,))
        set_owner(owner)
        set_scope(Scope(frame.get("context"), metric_sink(self._channel, prediction, owner, contextlib.nullcontext())))
        running.started = True
        started = time.perf_counter()
        outcome = outcomes.CANCELED_OUTCOME if running.canceled else await self._outcome(frame, running)
        elapsed_ms = (time.perf_counter() - started) * 1000
        self._pipes.rotate_standard()
        self._logs.finish(owner)
        self._pipes.end(owner)
        outcome = self._logs.secrets.redact_outcome(prediction, outcome)
        del self._running[prediction]
        self._answer(prediction, outcome, elapsed_ms)
        self._start_some()
        if self._stopping and not self._running:
            self._finished.set()

    def _answer(self, prediction: str, outcome: ModelOutcome, elapsed_ms: float) -> None:
        """Send the result. Results of one turn of the loop leave in one write."""
        self._results.put_done(prediction, outcome, elapsed_ms)
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        self._channel.flush()

    async def _outcome(self, frame: protocol.Frame, running: _PredictionTask) -> ModelOutcome:
        try:
            value = self._loaded.call(**self._arguments.build(frame["id"], frame["input"]))
            if inspect.isawaitable(value):
                value = await value
            iterates = self._loaded.is_generator or inspect.isasyncgen(value)
            if iterates:
                await self._stream(frame["id"], value)
            if running.canceled:  # the model caught the exception and returned
                return outcomes.CANCELED_OUTCOME
            return outcomes.ITERATED_OUTCOME if iterates else outcomes.of_value(value, self._shape)
        except BaseException as error:  # noqa: BLE001  the boundary: even sys.exit() ends this prediction only
            return outcomes.of_error(error, canceled=running.canceled)

    async def _stream(self, prediction: str, values: Any) -> None:
        if not hasattr(values, "__aiter__"):
            for item in values:
                self._send_item(prediction, item)
            return
        try:
            async for item in values:
                self._send_item(prediction, item)
        finally:
            if inspect.isasyncgen(values):
                await values.aclose()  # runs its clean-up if the iteration stopped early

    def _send_item(self, prediction: str, item: Any) -> None:
        """Send at once: a generator that computes between two items blocks the loop."""
        self._results.put_item(prediction, item, self._shape)
        self._channel.flush()
