"""What takes time for runs besides their children's own work: preparations, uploads, writes that are waited for.

Each chore is a named task that is owned here; the worker does not end before they have.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tidemill.runtime.tasks import Tasks
from tidemill.runtime.telemetry import log
from tidemill.worker.runs.run import Run


class RunTasks:
    """`failed` is told of a run whose chore ended with an error that nobody foresaw."""

    def __init__(self, failed: Callable[[Run], None]) -> None:
        self._failed = failed
        self._tasks = Tasks()

    @property
    def busy(self) -> bool:
        return len(self._tasks) > 0

    def start(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        return self._tasks.start(work, name)

    def then(self, run: Run, work: Coroutine[Any, Any, None]) -> None:
        """What takes time for a run happens one after the other, in the order in which the child spoke."""
        before = run.tail

        async def follow() -> None:
            if before is not None:
                await asyncio.wait([before])
            try:
                await work
            except Exception as error:  # noqa: BLE001 - the boundary of what is done for a child
                log().error("run failed here", action="run", prediction=run.job.id, exc_info=error)
                self._failed(run)

        run.tail = self.start(follow(), f"run {run.job.id}")
