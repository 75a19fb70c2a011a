"""Tasks of runs besides their children's work: preparations, uploads, writes that must be waited for.

Each is a named task that this class owns. The worker does not end before they have.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.prediction import Status
from tidemill.runtime.tasks import Tasks
from tidemill.runtime.telemetry import log
from tidemill.worker.runs.run import Run, StopReason
from tidemill.worker.runs.run_ends import RunEnds

UNFORESEEN: Final = StopReason(Status.FAILED, "The worker could not finish the prediction.", ErrorCode.INTERNAL)


class RunTasks:
    """A run whose task raises an unforeseen error fails."""

    def __init__(self, ends: RunEnds) -> None:
        self._ends = ends
        self._tasks = Tasks()

    @property
    def is_busy(self) -> bool:
        return len(self._tasks) > 0

    def start(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        return self._tasks.start(work, name)

    def append(self, run: Run, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` when the run's earlier tasks have ended: results keep the order in which the child sent them."""
        before = run.tail

        async def follow() -> None:
            if before is not None:
                await asyncio.wait([before])
            try:
                await work
            except Exception as error:  # noqa: BLE001 - the boundary of what is done for a run
                log().error("run failed here", action="run", prediction=run.job.id, exc_info=error)
                self._ends.end(run, UNFORESEEN)

        run.tail = self.start(follow(), f"run {run.job.id}")
