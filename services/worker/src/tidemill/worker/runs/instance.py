"""One instance: a child that has a model loaded, and the runs it was given, in order; how many more it takes."""

import codecs
from collections import OrderedDict, deque
from typing import Final, Literal, Protocol

import msgspec

from tidemill.worker.model_output.line_limit import LineRateLimiter
from tidemill.worker.model_output.redaction import Redactor
from tidemill.worker.runs.run import Run

FAST_MS: Final = 5.0  # below this, waking a process costs more than running: work is sent ahead
AHEAD: Final = 32  # predictions sent ahead to a fast child
SMOOTHING: Final = 0.1  # of the moving average of run times
MEAN_OF: Final = 10  # runs in the mean that the scheduler hears; it follows a change of what is asked of the model

State = Literal["booting", "ready", "draining", "failed"]


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance is an instance of, for operators."""

    model: str
    version: str
    trusted: bool
    network: bool


class Child(Protocol):
    """What an instance needs of its process; see tidemill.model.host.child_process."""

    def send(self, body: bytes) -> None: ...
    def cancel(self, prediction_id: str) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


class Instance:
    """Its `state` moves booting → ready → draining; failed when the boot did not succeed."""

    def __init__(self, identifier: str, queue: str, now: float) -> None:
        self.id = identifier
        self.queue = queue
        self.state: State = "booting"
        self.born = now
        self.idle_since = now
        self.concurrency = 1
        self.batched = False  # one call of the child's takes up to `concurrency` runs, and it says which
        self.called: frozenset[str] = frozenset()  # the ids of that call
        self.error: str | None = None
        self.child: Child | None = None
        self.ready_at = 0.0  # unix seconds
        self.boot: str | None = None  # seconds by phase, as JSON
        self.boot_s = 0.0  # what the boot took where files and environment are there
        self.about: ModelInfo | None = None  # known since its boot began
        self.redactor = Redactor()
        self.gpus: tuple[str, ...] = ()  # the devices assigned to it
        self.gpu_bytes = 0  # reserved for it on each of them
        self.reserved = 0  # places for runs that the rows are asked about
        self.runs: OrderedDict[str, Run] = OrderedDict()
        self.fds: deque[int] = deque()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._cut = False  # it holds the beginning of a character
        self.lines = LineRateLimiter()  # that the worker's log has of what is no prediction's
        self.finished = 0  # runs that it has ended itself
        self.data_limit_bytes: int | None = None  # private memory that its process may have
        self._average_ms = FAST_MS * 2  # unknown models count as slow
        self._timed = 0  # runs in the mean, MEAN_OF at most
        self._mean_ms = 0.0

    @property
    def room(self) -> int:
        """How many more runs it takes now."""
        if self.state != "ready":
            return 0
        ahead = AHEAD if self._average_ms < FAST_MS else 0
        if self.batched:
            ahead = max(ahead, self.concurrency)  # the next call's are there when this one's ends
        return max(0, self.concurrency + ahead - len(self.runs) - self.reserved)

    @property
    def run_s(self) -> float:
        """The mean length of the last runs; 0 before the first has ended."""
        return self._mean_ms / 1000

    def busy_s(self, now: float) -> float:
        """Since when the longest of the present runs has been with the child."""
        return max((now - run.sent for run in self.running() if run.sent), default=0.0)

    def boot_waited_for(self, created_at: float) -> str | None:
        """The boot's phases, for a prediction that was there before the instance was ready."""
        return self.boot if created_at < self.ready_at else None

    def begin(self, run: Run, body: bytes, now: float) -> None:
        run.sent = now
        self.runs[run.job.id] = run
        assert self.child is not None, "a ready instance has a child"
        self.child.send(body)

    def finish(self, prediction_id: str, ms: float, now: float) -> Run | None:
        """Takes the run off; None when the child speaks of one that it was not given."""
        run = self.runs.pop(prediction_id, None)
        self.redactor.forget(prediction_id)
        self.finished += 1
        self._average_ms += SMOOTHING * (ms - self._average_ms)
        if ms > 0:  # else it never began
            self._timed = min(self._timed + 1, MEAN_OF)
            self._mean_ms += (ms - self._mean_ms) / self._timed
        if not self.runs:
            self.idle_since = now
            if self.state == "draining" and self.child is not None:
                self.child.stop()
        return run

    def decoded(self, data: bytes) -> str:
        """The next of its standard streams as text; a character may be cut by the end of a read."""
        text = self._decoder.decode(data)
        self._cut = bool(self._decoder.getstate()[0])
        return text

    def cut_character(self) -> str:
        """What stands for the beginning of a character whose rest does not come before a prediction ends."""
        if not self._cut:
            return ""
        self._cut = False
        return self._decoder.decode(b"", final=True)

    def drain(self) -> None:
        """Takes nothing more; the child leaves when what it was given is done."""
        self.state = "draining"
        if not self.runs and self.child is not None:
            self.child.stop()

    def running(self) -> list[Run]:
        """Those that the child is at: it begins them in the order they came, unless it shares a call among others.

        It is never none while there are runs: somebody must lose an attempt when the child dies.
        """
        return self.sharing() or [run for _, run in zip(range(self.concurrency), self.runs.values(), strict=False)]

    def ahead(self) -> list[Run]:
        """Those sent ahead that cannot have begun."""
        begun = {run.job.id for run in self.running()}
        return [run for identifier, run in self.runs.items() if identifier not in begun]

    def sharing(self) -> list[Run]:
        """Those that share the child's call by its own word; none between calls, and where it does not batch."""
        if not self.called:
            return []
        return [run for identifier, run in self.runs.items() if identifier in self.called]

    def is_needed_by_others(self, run: Run) -> bool:
        """Whether the child's call is for others too, which are not to stop: then it must not die for this one."""
        return self.batched and any(other.stop is None for other in self.running() if other is not run)

    def is_running(self, run: Run) -> bool:
        """Whether it is one of the running; asked often, for many."""
        if self.called.isdisjoint(self.runs):
            return run in self.running()
        return run.job.id in self.called
