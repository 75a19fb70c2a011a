"""Keeps the priority hints up to date with what gateways report: accounts with urgent predictions waiting (ADR 6)."""

from tidemill.contracts.events import PriorityWaiting
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log
from tidemill.worker.runs import urgent_store
from tidemill.worker.runs.run_table import RunTable


class PriorityHandler:
    def __init__(self, table: RunTable, database: Database) -> None:
        self._table = table
        self._database = database

    async def on_urgent(self, event: PriorityWaiting) -> None:
        """Ignore queues without an instance here: a boot reads from the rows what waits for it."""
        queue = self._table.queues.get(event.queue)
        if queue is not None and queue.instances:
            self._table.priority_hints.note(event.queue, [event.account])

    async def on_reconnected(self) -> None:
        """Read from the rows what the bus could not report while it was unreachable."""
        queues = [queue.name for queue in self._table.queues_with_instances()]
        try:
            found = await urgent_store.contested(self._database, queues)
        except TRANSIENT_ERRORS as error:  # hints with a priority tell the same, only later
            log().warning("cannot look for priorities", action="turn", error=str(error))
            return
        for name, account in found:
            self._table.priority_hints.note(name, [account])
