"""Handles the frames of a child that an author's tool runs: passes them to each prediction's observer, copies files.

The worker has its own handler, which fences, stores and limits. Here one user waits, so copying may block.
"""

import asyncio
import os
import shutil
import stat
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tidemill.hosting.child.failures import BOOT_LOG_LIMIT_CHARS, BootFailed, describe_exit
from tidemill.hosting.child.frames import (
    DoneFrame,
    EgressSocketFrame,
    FailedFrame,
    FileRef,
    MetricFrame,
    OutputFrame,
    ReadyFrame,
    RunningFrame,
    decode,
    merged,
)
from tidemill.hosting.files.json_pointer import PointerError, set_at
from tidemill.hosting.files.output_names import safe_name
from tidemill.model.host.child_events import ChildExit
from tidemill.model.wire.text_stream import OwnerIds


class PredictionResult(msgspec.Struct, kw_only=True):
    """How a prediction ended. `output` of an iterator is the list of its items."""

    status: str  # "succeeded", "failed" or "canceled"
    output: Any = None
    error: str | None = None
    metrics: dict[str, Any] = {}


class PredictionObserver(Protocol):
    """Receives what one prediction prints and makes."""

    def on_log(self, text: str) -> None: ...

    def on_item(self, value: Any) -> None:
        """One item of an iterator, when it arrives."""

    def output_file(self, name: str) -> tuple[Path, str]:
        """Return where the file `name` (already safe) is written, and what replaces it in the output."""


class _ObservedPrediction:
    """What has arrived of a prediction so far."""

    def __init__(self, observer: PredictionObserver) -> None:
        self.observer = observer
        self.items: list[Any] | None = None
        self.metrics: dict[str, Any] = {}
        self.ended: asyncio.Future[PredictionResult] = asyncio.get_running_loop().create_future()

    def end(self, status: str, output: Any = None, error: str | None = None, ms: float | None = None) -> None:
        metrics = self.metrics if ms is None else {**self.metrics, "predict_time": round(ms / 1000, 6)}
        if not self.ended.done():
            kept = output if self.items is None else self.items
            self.ended.set_result(PredictionResult(status=status, output=kept, error=error, metrics=metrics))


class LocalFrameHandler:
    """The ChildEvents of one child. `boot_observer` gets what is printed while no prediction runs.

    `on_egress_socket` takes ownership of the socket of a child that may reach the internet.
    """

    def __init__(
        self, boot_observer: PredictionObserver, on_egress_socket: Callable[[int], None] | None = None
    ) -> None:
        self._boot_observer = boot_observer
        self._on_egress_socket = on_egress_socket
        self._predictions: dict[str, _ObservedPrediction] = {}
        self._batch_ids: frozenset[str] = frozenset()  # predictions in the running call of @batch
        self._log = ""
        self.ready: asyncio.Future[ReadyFrame] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def start(self, identifier: str, observer: PredictionObserver) -> asyncio.Future[PredictionResult]:
        prediction = self._predictions[identifier] = _ObservedPrediction(observer)
        return prediction.ended

    def on_frames(self, bodies: list[bytes], files: deque[int]) -> None:
        for body in bodies:
            try:
                self._on_frame(decode(body), files)
            except (msgspec.DecodeError, UnicodeDecodeError, IndexError, PointerError) as error:
                raise ValueError(f"it sent what is no frame: {error}") from None

    def _on_frame(self, frame: Any, files: deque[int]) -> None:
        if isinstance(frame, ReadyFrame):
            self.ready.set_result(frame)
        elif isinstance(frame, FailedFrame):
            self.ready.set_exception(BootFailed(f"{frame.error}\n{self._log[-2000:]}".strip()))
        elif isinstance(frame, RunningFrame):
            self._batch_ids = frozenset(frame.ids)
        elif isinstance(frame, EgressSocketFrame) and self._on_egress_socket is not None:
            self._on_egress_socket(files.popleft())
        elif isinstance(frame, OutputFrame | DoneFrame | MetricFrame):
            self._on_progress(frame, files)

    def _on_progress(self, frame: OutputFrame | DoneFrame | MetricFrame, files: deque[int]) -> None:
        prediction = self._predictions.get(frame.id)
        if prediction is None:
            raise ValueError("it spoke of a prediction that it was not given")
        if isinstance(frame, MetricFrame):
            value = msgspec.json.decode(frame.value)
            prediction.metrics[frame.key] = merged(prediction.metrics.get(frame.key), value, frame.mode)
            return
        try:
            value = _decode_value(frame, files, prediction.observer)
        except OSError as error:
            del self._predictions[frame.id]
            prediction.end("failed", error=f"A file of the output could not be kept: {error.strerror}.")
            return
        if isinstance(frame, OutputFrame):
            prediction.items = [*(prediction.items or []), value]
            prediction.observer.on_item(value)
            return
        del self._predictions[frame.id]
        if frame.batch:
            prediction.metrics["batch_size"] = frame.batch
        prediction.end(
            frame.status if frame.status in {"succeeded", "canceled"} else "failed", value, frame.error, frame.ms
        )

    def on_text(self, ids: OwnerIds, text: str) -> None:
        self._on_log(ids or (), text)

    def on_log_bytes(self, data: bytes) -> None:
        ids = self._batch_ids or tuple(self._predictions)[:1]
        self._on_log(ids, data.decode("utf-8", "replace"))

    def _on_log(self, ids: Iterable[str], text: str) -> None:
        predictions = [prediction for each in ids if (prediction := self._predictions.get(each))]
        for prediction in predictions:
            prediction.observer.on_log(text)
        if predictions:
            return
        self._log = (self._log + text)[-BOOT_LOG_LIMIT_CHARS:]
        self._boot_observer.on_log(text)

    def on_exit(self, ended: ChildExit) -> None:
        reason = describe_exit(ended)
        if not self.ready.done():
            self.ready.set_exception(BootFailed(f"the model's process ended while it booted: {reason}"))
        for prediction in self._predictions.values():
            prediction.end("failed", error=f"The model's process ended: {reason}.")
        self._predictions.clear()
        self.ended.set_result(reason)


def _decode_value(frame: OutputFrame | DoneFrame, files: deque[int], observer: PredictionObserver) -> Any:
    """Return the value with its files saved and named. Raise IndexError, PointerError, OSError."""
    value = msgspec.json.decode(frame.value if isinstance(frame, OutputFrame) else frame.output)
    for ref in frame.files:
        value = set_at(value, ref.pointer, _save_file(ref, files.popleft(), observer))
    return value


def _save_file(ref: FileRef, descriptor: int, observer: PredictionObserver) -> str:
    with os.fdopen(descriptor, "rb") as source:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, f"{ref.name} is no regular file")
        path, shown = observer.output_file(safe_name(ref.name))
        path.parent.mkdir(parents=True, exist_ok=True)
        source.seek(0)
        with path.open("wb") as target:
            shutil.copyfileobj(source, target)
    return shown
