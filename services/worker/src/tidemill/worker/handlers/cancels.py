"""Cancels from outside. The prediction's row has ended already: only its run or its waiting job is left to stop."""

from tidemill.contracts.events import Cancel
from tidemill.worker.runs.run_ends import RunEnds
from tidemill.worker.runs.run_table import RunTable


class CancelHandler:
    def __init__(self, table: RunTable, ends: RunEnds) -> None:
        self._table = table
        self._ends = ends

    async def on_cancel(self, cancel: Cancel) -> None:
        """A later attempt than the canceled one goes on."""
        run = self._table.runs.get(cancel.id)
        if run is not None and run.job.attempt <= cancel.attempt:
            self._ends.lose(run)
        for queue in self._table.queues.values():
            queue.drop_canceled(cancel.id, cancel.attempt)
