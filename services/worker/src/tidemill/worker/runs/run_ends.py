"""How runs end: by the child's result, by a reason of ours, or because another worker owns the prediction by now.

Every end goes through here, so it leaves the table, its input files and the writer in one consistent state.
"""

from collections.abc import Callable
from typing import Final

from prometheus_client import Counter

from tidemill.contracts.prediction import Status
from tidemill.hosting.child.frames import DoneFrame
from tidemill.runtime.clock import monotonic, now
from tidemill.runtime.telemetry import record
from tidemill.worker.runs.run import Run, StopReason
from tidemill.worker.runs.run_table import RunTable
from tidemill.worker.runs.run_writer import RunWriter

ENDED: Final = Counter("tidemill_worker_runs_total", "Runs that ended by their child's word", ["status"])
STOPPED: Final = Counter("tidemill_worker_stopped_runs_total", "Runs that ended otherwise, by error code", ["code"])


class RunEnds:
    """`discard_inputs` removes the input files of a run. None of the methods waits."""

    def __init__(self, table: RunTable, writer: RunWriter, discard_inputs: Callable[[Run], None]) -> None:
        self._table = table
        self._writer = writer
        self._discard_inputs = discard_inputs

    def finish(self, run: Run, frame: DoneFrame) -> None:
        """End the run with its child's result."""
        self._close(run)
        if not run.lost:
            completed_at = now()
            # Claims are written late, and an unclaimed run may have been sent ahead: the child measured the run time.
            began_at = max(run.job.created_at, completed_at - frame.ms / 1000)
            run.started_at = min(run.started_at, began_at) if run.claimed else began_at
            self._writer.end(run.outcome(self._table.worker, frame, completed_at), run.seq)
            ENDED.labels(frame.status).inc()
            record("run prediction", run.job.traceparent, run.started_at, completed_at)

    def end(self, run: Run, reason: StopReason) -> None:
        """End the run for a reason of ours; what it has produced so far is kept."""
        self._close(run)
        if not run.lost:
            self._writer.end(run.end(self._table.worker, reason, now()), run.seq)
            STOPPED.labels(reason.code or reason.status).inc()

    def stop(self, run: Run, reason: StopReason) -> None:
        """Ask the child to cancel the run. The watchdog kills the child if the run does not stop in time."""
        if run.stop is not None:
            return
        run.stop, run.stop_since = reason, monotonic()
        instance = self._table.instance_of(run)
        if instance is not None and instance.child is not None:
            instance.child.cancel(run.job.id)

    def lose(self, run: Run) -> None:
        """Stop a run whose row has ended or belongs to another worker. Its result will not be written."""
        if self._table.runs.get(run.job.id) is run:
            run.lost = True
            self.stop(run, StopReason(Status.CANCELED))

    def _close(self, run: Run) -> None:
        self._table.remove(run)
        if run.claimed:
            self._discard_inputs(run)
