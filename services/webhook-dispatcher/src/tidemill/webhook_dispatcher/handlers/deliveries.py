"""Terminal deliveries: due rows are leased, tried, and finished or put off. A hanging endpoint delays itself only."""

import asyncio
from typing import Final

from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import TRANSIENT_ERRORS, Database, Row
from tidemill.runtime.deliveries import scheduling, trying
from tidemill.runtime.tasks import Tasks, set_within
from tidemill.runtime.telemetry import log
from tidemill.webhook_dispatcher import store, store_endpoints
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.handlers.tries import Tries
from tidemill.webhook_dispatcher.lanes import Endpoint, Lanes

BATCH: Final = 64


class Deliveries:
    """`wake` is set when a terminal event was announced, and when a try has ended."""

    def __init__(self, config: Config, database: Database, tries: Tries) -> None:
        self._config = config
        self._database = database
        self._tries = tries
        self._lanes = Lanes(
            endpoint_tries=config.endpoint_tries, account_tries=config.account_tries, tries=config.tries
        )
        self._tasks = Tasks()
        self._draining = False
        self._sorted_at = float("-inf")
        self.wake = asyncio.Event()

    async def run(self) -> None:
        """Named task."""
        woken = True
        while True:
            self.wake.clear()
            try:
                if woken or await store.any_due(self._database):
                    await self._sort_out()
                    while await self._take():
                        pass
            except TRANSIENT_ERRORS as error:
                log().warning("cannot look for deliveries", action="retry", error=str(error))
            woken = await set_within(self.wake, self._config.look_every_s)

    async def _sort_out(self) -> None:
        """Sets aside what is due at endpoints that are not tried now. Leasing leaves it out too; this keeps it fast."""
        if monotonic() - self._sorted_at < self._config.look_every_s:
            return
        self._sorted_at = monotonic()
        await scheduling.park(self._database, store_endpoints.BATCH)
        skipped = await scheduling.skip(self._database, store_endpoints.BATCH)
        if skipped:
            log().info("skipped", action="deliver", count=skipped)

    async def _take(self) -> bool:
        """Leases due rows and starts their tries; whether there may be more."""
        if self._draining or self._lanes.room <= 0:
            return False
        rows = await store.lease(self._database, self._lanes, BATCH, self._tries.lease_s)
        put_back = [row["id"] for row in rows if not self._start(row)]
        if put_back:
            await trying.release(self._database, put_back)
        return len(rows) > len(put_back)

    def _start(self, row: Row) -> bool:
        place = Endpoint(row["account_id"], row["host"])
        if self._draining or not self._lanes.take(place):
            return False

        def ended(_task: object) -> None:
            self._lanes.give_back(place)
            self.wake.set()

        self._tasks.start(self._tries.run(row), f"delivery {row['id']}").add_done_callback(ended)
        return True

    async def drained(self) -> None:
        """Tries under way end by their own time-outs; what has not been tried is taken by another dispatcher."""
        self._draining = True
        await self._tasks.finished()

    async def stop(self) -> None:
        """Breaks off what outlasted the drain: its lease runs out, and another dispatcher tries it again."""
        self._draining = True
        await self._tasks.stop()
