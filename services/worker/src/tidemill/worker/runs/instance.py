"""One instance: a child with a loaded model, the runs that it was given, in order, and how many more it takes."""

import codecs
from collections import OrderedDict, deque
from typing import Final, Literal, Protocol

import msgspec

from tidemill.worker.model_output.line_limit import LineRateLimiter
from tidemill.worker.model_output.redaction import Redactor
from tidemill.worker.runs.run import Run

FAST_MS: Final = 5.0  # below this, waking a process costs more than the run: runs are sent ahead
AHEAD: Final = 32  # predictions sent ahead to a fast child
SMOOTHING: Final = 0.1  # of the moving average of run times
MEAN_OF: Final = 10  # runs in the mean that the heartbeat carries: few, so that it follows a change of the inputs

State = Literal["booting", "ready", "draining", "failed"]


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance runs, for operators."""

    model: str
    version: str
    trusted: bool
    network: bool


class Child(Protocol):
    """The child process as an instance uses it; see tidemill.model.host.child_process."""

    def send(self, body: bytes) -> None: ...
    def cancel(self, prediction_id: str) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


class Instance:
    """`state` goes from booting to ready to draining, or from booting to failed."""

    def __init__(self, identifier: str, queue: str, now: float) -> None:
        self.id = identifier
        self.queue = queue
        self.state: State = "booting"
        self.born = now
        self.idle_since = now
        self.concurrency = 1
        self.batched = False  # one call of the model takes up to `concurrency` runs
        self.called: frozenset[str] = frozenset()  # ids of the runs in the current call, as the child reported them
        self.error: str | None = None
        self.child: Child | None = None
        self.ready_at = 0.0  # unix seconds
        self.boot: str | None = None  # seconds by phase, as JSON
        self.boot_s = 0.0  # duration of a boot that finds files and environment on the disk
        self.about: ModelInfo | None = None  # known since its boot began
        self.redactor = Redactor()
        self.gpus: tuple[str, ...] = ()  # the devices assigned to it
        self.gpu_bytes = 0  # reserved on each of them
        self.reserved = 0  # places kept for priority claims under way
        self.runs: OrderedDict[str, Run] = OrderedDict()
        self.fds: deque[int] = deque()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._cut = False  # the decoder holds the beginning of a character
        self.lines = LineRateLimiter()  # of the worker's own log, for text that belongs to no run
        self.finished = 0  # runs that the child has ended
        self.data_limit_bytes: int | None = None  # limit of its process's private memory
        self._average_ms = FAST_MS * 2  # unknown models count as slow
        self._timed = 0  # runs in the mean, MEAN_OF at most
        self._mean_ms = 0.0

    @property
    def room(self) -> int:
        """How many more runs the instance takes now."""
        if self.state != "ready":
            return 0
        ahead = AHEAD if self._average_ms < FAST_MS else 0
        if self.batched:
            ahead = max(ahead, self.concurrency)  # the runs of the next call are there when this one ends
        return max(0, self.concurrency + ahead - len(self.runs) - self.reserved)

    @property
    def run_s(self) -> float:
        """The mean duration of the last runs in seconds; 0 before the first has ended."""
        return self._mean_ms / 1000

    def busy_s(self, now: float) -> float:
        """Return for how long the oldest current run has been with the child."""
        return max((now - run.sent for run in self.running() if run.sent), default=0.0)

    def boot_waited_for(self, created_at: float) -> str | None:
        """Return the boot's phases as JSON for a prediction that waited for the boot, else None."""
        return self.boot if created_at < self.ready_at else None

    def begin(self, run: Run, body: bytes, now: float) -> None:
        run.sent = now
        self.runs[run.job.id] = run
        assert self.child is not None, "a ready instance has a child"
        self.child.send(body)

    def finish(self, prediction_id: str, ms: float, now: float) -> Run | None:
        """Take the run off the instance. Return None if it does not have the run.

        `ms` is how long the run took; 0 means that it never began.
        """
        run = self.runs.pop(prediction_id, None)
        self.redactor.forget(prediction_id)
        self.finished += 1
        self._average_ms += SMOOTHING * (ms - self._average_ms)
        if ms > 0:
            self._timed = min(self._timed + 1, MEAN_OF)
            self._mean_ms += (ms - self._mean_ms) / self._timed
        if not self.runs:
            self.idle_since = now
            if self.state == "draining" and self.child is not None:
                self.child.stop()
        return run

    def decoded(self, data: bytes) -> str:
        """Decode the next bytes of the child's standard streams. A character may continue in the next read."""
        text = self._decoder.decode(data)
        self._cut = bool(self._decoder.getstate()[0])
        return text

    def cut_character(self) -> str:
        """Return the replacement for a character that was cut by the end of a prediction, or an empty text."""
        if not self._cut:
            return ""
        self._cut = False
        return self._decoder.decode(b"", final=True)

    def drain(self) -> None:
        """Take no more runs. The child is stopped when the present ones have ended."""
        self.state = "draining"
        if not self.runs and self.child is not None:
            self.child.stop()

    def running(self) -> list[Run]:
        """Return the runs that the child works on: the first `concurrency` ones, or those of its batched call.

        The list is not empty while the instance has runs: when the child dies, one of them must lose an attempt.
        """
        return self.sharing() or [run for _, run in zip(range(self.concurrency), self.runs.values(), strict=False)]

    def ahead(self) -> list[Run]:
        """Return the runs that were sent ahead and cannot have begun."""
        begun = {run.job.id for run in self.running()}
        return [run for identifier, run in self.runs.items() if identifier not in begun]

    def sharing(self) -> list[Run]:
        """Return the runs of the current batched call, as the child reported them; none between calls."""
        if not self.called:
            return []
        return [run for identifier, run in self.runs.items() if identifier in self.called]

    def is_needed_by_others(self, run: Run) -> bool:
        """Whether the current call also serves runs that go on: then the child must not be killed for this one."""
        return self.batched and any(other.stop is None for other in self.running() if other is not run)

    def is_running(self, run: Run) -> bool:
        """Whether the child works on the run. Faster than `running()` during a batched call."""
        if self.called.isdisjoint(self.runs):
            return run in self.running()
        return run.job.id in self.called
