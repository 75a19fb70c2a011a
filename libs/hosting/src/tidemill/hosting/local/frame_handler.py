"""What a child of an author's tool says, told to whoever made each prediction; files that it hands over are copied.

The worker has its own listener, which fences, stores and limits; here one person waits, so copying blocks.
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
    Done,
    EgressSocket,
    Failed,
    FileRef,
    Metric,
    Output,
    Ready,
    Running,
    decode,
    merged,
)
from tidemill.hosting.files.json_pointer import PointerError, set_at
from tidemill.hosting.files.output_names import safe_name
from tidemill.model.host.child_events import ChildExit
from tidemill.model.wire.text_stream import OwnerIds


class Ended(msgspec.Struct, kw_only=True):
    """How a prediction ended. `output` of an iterator is the list of its items."""

    status: str  # "succeeded", "failed" or "canceled"
    output: Any = None
    error: str | None = None
    metrics: dict[str, Any] = {}


class Audience(Protocol):
    """Who hears of one prediction."""

    def on_log(self, text: str) -> None: ...

    def on_item(self, value: Any) -> None:
        """One item of an iterator, as it comes."""

    def place(self, name: str) -> tuple[Path, str]:
        """Where a file of that (harmless) name is written, and what stands for it in the output."""


class _Heard:
    """What was heard of a prediction until now."""

    def __init__(self, audience: Audience) -> None:
        self.audience = audience
        self.items: list[Any] | None = None
        self.metrics: dict[str, Any] = {}
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    def end(self, status: str, output: Any = None, error: str | None = None, ms: float | None = None) -> None:
        metrics = self.metrics if ms is None else {**self.metrics, "predict_time": round(ms / 1000, 6)}
        if not self.ended.done():
            kept = output if self.items is None else self.items
            self.ended.set_result(Ended(status=status, output=kept, error=error, metrics=metrics))


class Conversation:
    """The ChildEvents of one child. `say` gets what is printed while no prediction runs.

    `on_way_out` takes over the socket of a child that may reach the internet.
    """

    def __init__(self, say: Audience, on_way_out: Callable[[int], None] | None = None) -> None:
        self._boot = say
        self._on_way_out = on_way_out
        self._heard: dict[str, _Heard] = {}
        self._called: frozenset[str] = frozenset()  # by the ids that share a call of a model under @batch
        self._log = ""
        self.ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def begin(self, identifier: str, audience: Audience) -> asyncio.Future[Ended]:
        heard = self._heard[identifier] = _Heard(audience)
        return heard.ended

    def on_frames(self, bodies: list[bytes], files: deque[int]) -> None:
        for body in bodies:
            try:
                self._on_frame(decode(body), files)
            except (msgspec.DecodeError, UnicodeDecodeError, IndexError, PointerError) as error:
                raise ValueError(f"it sent what is no frame: {error}") from None

    def _on_frame(self, frame: Any, files: deque[int]) -> None:
        if isinstance(frame, Ready):
            self.ready.set_result(frame)
        elif isinstance(frame, Failed):
            self.ready.set_exception(BootFailed(f"{frame.error}\n{self._log[-2000:]}".strip()))
        elif isinstance(frame, Running):
            self._called = frozenset(frame.ids)
        elif isinstance(frame, EgressSocket) and self._on_way_out is not None:
            self._on_way_out(files.popleft())
        elif isinstance(frame, Output | Done | Metric):
            self._on_progress(frame, files)

    def _on_progress(self, frame: Output | Done | Metric, files: deque[int]) -> None:
        heard = self._heard.get(frame.id)
        if heard is None:
            raise ValueError("it spoke of a prediction that it was not given")
        if isinstance(frame, Metric):
            value = msgspec.json.decode(frame.value)
            heard.metrics[frame.key] = merged(heard.metrics.get(frame.key), value, frame.mode)
            return
        try:
            value = _received(frame, files, heard.audience)
        except OSError as error:
            del self._heard[frame.id]
            heard.end("failed", error=f"A file of the output could not be kept: {error.strerror}.")
            return
        if isinstance(frame, Output):
            heard.items = [*(heard.items or []), value]
            heard.audience.on_item(value)
            return
        del self._heard[frame.id]
        if frame.batch:
            heard.metrics["batch_size"] = frame.batch
        heard.end(frame.status if frame.status in {"succeeded", "canceled"} else "failed", value, frame.error, frame.ms)

    def on_text(self, ids: OwnerIds, text: str) -> None:
        self._on_log(ids or (), text)

    def on_log_bytes(self, data: bytes) -> None:
        speaking = self._called or tuple(self._heard)[:1]
        self._on_log(speaking, data.decode("utf-8", "replace"))

    def _on_log(self, ids: Iterable[str], text: str) -> None:
        heard = [each for one in ids if (each := self._heard.get(one))]
        for each in heard:
            each.audience.on_log(text)
        if heard:
            return
        self._log = (self._log + text)[-BOOT_LOG_LIMIT_CHARS:]
        self._boot.on_log(text)

    def on_exit(self, ended: ChildExit) -> None:
        how = describe_exit(ended)
        if not self.ready.done():
            self.ready.set_exception(BootFailed(f"the model's process ended while it booted: {how}"))
        for heard in self._heard.values():
            heard.end("failed", error=f"The model's process ended: {how}.")
        self._heard.clear()
        self.ended.set_result(how)


def _received(frame: Output | Done, files: deque[int], audience: Audience) -> Any:
    """The value with what stands for each file at its pointer. Raises IndexError, PointerError, OSError."""
    value = msgspec.json.decode(frame.value if isinstance(frame, Output) else frame.output)
    for ref in frame.files:
        value = set_at(value, ref.pointer, _kept(ref, files.popleft(), audience))
    return value


def _kept(ref: FileRef, descriptor: int, audience: Audience) -> str:
    with os.fdopen(descriptor, "rb") as source:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, f"{ref.name} is no regular file")
        path, shown = audience.place(safe_name(ref.name))
        path.parent.mkdir(parents=True, exist_ok=True)
        source.seek(0)
        with path.open("wb") as target:
            shutil.copyfileobj(source, target)
    return shown
