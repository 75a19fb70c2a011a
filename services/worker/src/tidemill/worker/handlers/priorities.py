"""What this worker hears of accounts that have urgent predictions waiting: their hints are turns then (ADR 6)."""

from tidemill.contracts.events import PriorityWaiting
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log
from tidemill.worker.runs import urgent_store
from tidemill.worker.runs.engine import Engine


class PriorityHandler:
    def __init__(self, engine: Engine, database: Database) -> None:
        self._engine = engine
        self._database = database

    async def on_urgent(self, event: PriorityWaiting) -> None:
        """What waits for an instance that is still to come is read from the rows when it boots."""
        lane = self._engine.lanes.get(event.queue)
        if lane is not None and lane.instances:
            self._engine.turns.note(event.queue, [event.account])

    async def look(self) -> None:
        """The bus was away, and what it would have told with it."""
        queues = [queue for queue, lane in self._engine.lanes.items() if lane.instances]
        try:
            found = await urgent_store.contested(self._database, queues)
        except TRANSIENT_ERRORS as error:  # hints with a priority say it too, only later
            log().warning("cannot look for priorities", action="turn", error=str(error))
            return
        for queue, account in found:
            self._engine.turns.note(queue, [account])
