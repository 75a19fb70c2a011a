"""A run: one attempt of a prediction in this worker, and what it has produced so far, within limits. No I/O."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.events import Job
from tidemill.contracts.limits import LOGS_LIMIT_BYTES, MIB, OUTPUT_LIMIT_BYTES
from tidemill.contracts.prediction import Status
from tidemill.hosting.child.frames import DoneFrame, MetricFrame, merged
from tidemill.runtime import billing
from tidemill.runtime.billing import Tariff
from tidemill.runtime.predictions.outcome import Outcome, metrics
from tidemill.worker.model_output.metric_names import nested
from tidemill.worker.model_output.progress_bars import progress

_KEPT: Final = f"logs are kept up to {LOGS_LIMIT_BYTES // MIB} MiB"
CUT: Final = f"\n[what follows is dropped: {_KEPT}]\n"
METRICS_LIMIT: Final = 200  # metrics that a model may record
METRICS_LIMIT_BYTES: Final = 256 * 1024  # of names and values: lists read them; what is larger belongs into the output
METRICS_CUT: Final = (
    f"[metrics beyond {METRICS_LIMIT} names or {METRICS_LIMIT_BYTES // 1024} KiB of names and values are dropped]\n"
)


class StopReason(msgspec.Struct, frozen=True):
    """Why the worker ends a run. It decides how the run ends, whatever the child reports."""

    status: Status
    error: str | None = None
    code: ErrorCode | None = None


class RunFailed(Exception):  # noqa: N818 - named after the situation
    """The run fails; the message is for the prediction's user."""

    def __init__(self, message: str, code: ErrorCode) -> None:
        super().__init__(message)
        self.code = code


class Unsaved(NamedTuple):
    """Whether the row lacks items of the output, or logs."""

    items: bool
    logs: bool


class Run:
    """`sent`: when the child got it, in monotonic seconds. `claimed`: its row names this worker, or soon will."""

    __slots__ = (
        "boot",
        "claimed",
        "dirty",
        "items",
        "items_bytes",
        "iterated",
        "job",
        "logs",
        "logs_bytes",
        "logs_dropped",
        "lost",
        "metrics",
        "metrics_bytes",
        "metrics_dropped",
        "new_items",
        "new_logs",
        "progress",
        "queue",
        "recalled",
        "sent",
        "seq",
        "sharers",
        "started_at",
        "stop",
        "stop_since",
        "tail",
        "tariff",
    )

    def __init__(self, job: Job, queue: str) -> None:
        self.job = job
        self.queue = queue
        self.sent = 0.0
        self.started_at = 0.0
        self.claimed = False
        self.lost = False  # ended or reassigned elsewhere: its result is dropped
        self.recalled = False  # called back from a busy child before it began
        self.stop: StopReason | None = None
        self.stop_since = 0.0
        self.items: list[bytes] = []
        self.items_bytes = 0
        self.iterated = False
        self.logs: list[str] = []
        self.logs_bytes = 0
        self.logs_dropped = 0  # characters
        self.progress: float | None = None  # from 0 to 1, by the last progress bar that was printed
        self.metrics: dict[str, Any] = {}
        self.metrics_bytes: dict[str, int] = {}  # by name
        self.metrics_dropped = False
        self.seq = 0
        self.tail: asyncio.Task[None] | None = None  # the last of its tasks, which run one after another
        self.dirty = False  # the row lacks something
        self.new_items = False  # the row lacks items of the output
        self.new_logs = False
        self.tariff: Tariff | None = None
        self.sharers = 1  # runs in its batched call, itself included
        self.boot: str | None = None  # phases of the boot that it waited for, as JSON

    @property
    def is_busy(self) -> bool:
        """Whether a task of the run has not ended: later results must wait for it."""
        return self.tail is not None and not self.tail.done()

    def add_log(self, text: str) -> str:
        """Keep as much of `text` as the limit allows. Return what to show of it to clients that stream."""
        shown = progress(text)
        if shown is not None:
            self.progress, self.dirty = shown, True
        if self.logs_dropped:
            self.logs_dropped += len(text)
            return ""
        kept = _cut(text, LOGS_LIMIT_BYTES - self.logs_bytes)
        self.logs_dropped = len(text) - len(kept)
        self.logs_bytes += len(kept) if kept.isascii() else len(kept.encode("utf-8", "replace"))
        kept = kept.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL's text holds no NUL
        self.logs.append(kept)
        self.dirty = self.new_logs = True
        return kept + CUT if self.logs_dropped else kept

    def add_item(self, value: bytes) -> bool:
        """Add an item of an iterator. Return False if the output is over its limit."""
        self.iterated = True
        self.items_bytes += len(value) + 1
        if self.items_bytes > OUTPUT_LIMIT_BYTES:
            return False
        self.items.append(value)
        self.dirty = self.new_items = True
        return True

    def add_metric(self, frame: MetricFrame) -> None:
        key = frame.key
        if len(frame.value) > METRICS_LIMIT_BYTES:  # to decode it would hold up all other runs
            self._drop_metric()
            return
        value = msgspec.json.decode(frame.value)
        if value is None:
            self.metrics.pop(key, None)
            self.metrics_bytes.pop(key, None)
            return
        before = self.metrics_bytes.get(key, 0)
        size = len(frame.value) + (before or len(key) if frame.mode == "append" else len(key))
        fits = sum(self.metrics_bytes.values()) - before + size <= METRICS_LIMIT_BYTES
        if fits and (before or len(self.metrics) < METRICS_LIMIT):
            self.metrics_bytes[key] = size
            self.metrics[key] = merged(self.metrics.get(key), value, frame.mode)
        else:
            self._drop_metric()

    def _drop_metric(self) -> None:
        if not self.metrics_dropped:
            self.metrics_dropped = True
            self.add_log(METRICS_CUT)

    def share(self, batch: int) -> None:
        """Note that the run was one of `batch` runs in a call of a model under @batch."""
        self.metrics["batch_size"] = self.sharers = batch

    def take_unsaved(self) -> Unsaved:
        """Return what the row lacks, and count it as saved. Use `put_back` if the save did not happen."""
        unsaved = Unsaved(self.new_items, self.new_logs)
        self.dirty = self.new_items = self.new_logs = False
        return unsaved

    def put_back(self, unsaved: Unsaved) -> None:
        self.dirty = True
        self.new_items |= unsaved.items
        self.new_logs |= unsaved.logs

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq - 1

    def output_so_far(self) -> str | None:
        return f"[{b','.join(self.items).decode()}]" if self.iterated else None

    def logs_so_far(self) -> str:
        if len(self.logs) > 1:
            self.logs = ["".join(self.logs)]
        kept = self.logs[0] if self.logs else ""
        return f"{kept}\n[{self.logs_dropped} more characters were dropped: {_KEPT}]\n" if self.logs_dropped else kept

    def measured(self) -> Mapping[str, Any]:
        """Return the recorded metrics, with the progress unless the model recorded one itself."""
        metrics = nested(self.metrics)
        return metrics if self.progress is None else {"progress": self.progress, **metrics}

    def measured_so_far(self) -> str | None:
        measured = self.measured()
        return msgspec.json.encode(measured).decode() if measured else None

    def _metrics(self, status: Status, started_at: float | None, completed_at: float) -> str:
        bill = billing.bill(self.tariff, status, started_at, completed_at, sharers=self.sharers)
        return metrics(started_at, self.job.created_at, completed_at, self.measured(), bill)

    def outcome(self, worker: str, done: DoneFrame, completed_at: float) -> Outcome:
        """Return the end of the run as the child reported it. A reason to stop of our own goes first."""
        output = self.output_so_far() or bytes(done.output).decode()
        if self.stop is not None:
            return self.end(worker, self.stop, completed_at)
        if done.status == "canceled":  # the child was told to, and the reason is gone
            return self.end(worker, StopReason(Status.CANCELED), completed_at)
        if len(output) > OUTPUT_LIMIT_BYTES:
            return self.end(worker, too_large(), completed_at)
        failed = done.status != "succeeded"
        status = Status.FAILED if failed else Status.SUCCEEDED
        code = ErrorCode.OUT_OF_MEMORY if done.status == "out_of_memory" else ErrorCode.MODEL_ERROR
        return Outcome(
            id=self.job.id,
            attempt=self.job.attempt,
            status=status,
            output=None if output == "null" else output,
            logs=self.logs_so_far(),
            error=(done.error or "The model failed without a message.").replace("\0", "") if failed else None,
            error_code=code if failed else None,
            metrics=self._metrics(status, self.started_at, completed_at),
            boot=self.boot,
            worker=worker,
            started_at=self.started_at,
            completed_at=completed_at,
        )

    def end(self, worker: str, stop: StopReason, completed_at: float) -> Outcome:
        """Return an end for a reason of ours. What was produced so far is kept."""
        started_at = self.started_at or None
        return Outcome(
            id=self.job.id,
            attempt=self.job.attempt,
            status=stop.status,
            output=self.output_so_far(),
            logs=self.logs_so_far(),
            error=stop.error,
            error_code=stop.code,
            metrics=self._metrics(stop.status, started_at, completed_at),
            boot=self.boot,
            worker=worker,
            started_at=started_at,
            completed_at=completed_at,
        )


def too_large() -> StopReason:
    message = f"The output is over {OUTPUT_LIMIT_BYTES // (1024 * 1024)} MiB of JSON: return a file instead."
    return StopReason(Status.FAILED, message, ErrorCode.OUTPUT_TOO_LARGE)


def _cut(text: str, room_bytes: int) -> str:
    """Return the beginning of `text` that fits."""
    if len(text) * 4 <= room_bytes:
        return text
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= room_bytes else raw[:room_bytes].decode("utf-8", "ignore")
