"""Puts runs that their instance will not end back into their queue, or begins their next attempt.

It changes rows and the table, and never begins a run: the caller dispatches the queue afterwards.
"""

from collections.abc import Callable, Sequence

import msgspec

from tidemill.worker.runs.run import Run
from tidemill.worker.runs.run_table import RunTable
from tidemill.worker.runs.run_writer import RunWriter


class Requeue:
    """Jobs come back to the front of their queue, in their old order."""

    def __init__(self, table: RunTable, writer: RunWriter, discard_inputs: Callable[[Run], None]) -> None:
        self._table = table
        self._writer = writer
        self._discard_inputs = discard_inputs

    def put_back(self, runs: Sequence[Run]) -> None:
        """Requeue unclaimed runs: nothing about them is in the rows."""
        for run in reversed(runs):
            self._table.runs.pop(run.job.id, None)
            self._table.queue(run.queue).jobs.appendleft(run.job)

    async def unclaim(self, runs: Sequence[Run]) -> None:
        """Requeue runs that were claimed and never began. They keep their attempt, and any worker may run them."""
        for run in runs:
            self._table.runs.pop(run.job.id, None)
        unclaimed = await self._writer.unclaim(runs)
        for run in reversed(runs):
            if run.job.id in unclaimed:
                self._table.queue(run.queue).jobs.appendleft(run.job)

    async def begin_next_attempt(self, run: Run) -> bool:
        """Requeue a run that was lost with its child, as its next attempt. Return False if its prediction has ended."""
        self._table.runs.pop(run.job.id, None)
        self._discard_inputs(run)
        if not await self._writer.begin_next_attempts([run]):
            return False
        job = msgspec.structs.replace(run.job, attempt=run.job.attempt + 1)
        self._table.queue(run.queue).jobs.appendleft(job)
        return True
