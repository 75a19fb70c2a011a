"""Terminal deliveries: leases due rows and runs their tries. A slow endpoint delays only its own deliveries."""

import asyncio
from typing import Final

from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import TRANSIENT_ERRORS, Database, Row
from tidemill.runtime.deliveries import scheduling, trying
from tidemill.runtime.tasks import Tasks, set_within
from tidemill.runtime.telemetry import log
from tidemill.webhook_dispatcher import store, store_endpoints
from tidemill.webhook_dispatcher.concurrency_limits import ConcurrencyLimits, EndpointKey
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.handlers.delivery_tries import DeliveryTries

BATCH: Final = 64


class DeliveryLoop:
    """Leases and tries due deliveries. `wake` is set when a prediction has ended and when a try has ended."""

    def __init__(self, config: Config, database: Database, tries: DeliveryTries) -> None:
        self._config = config
        self._database = database
        self._tries = tries
        self._limits = ConcurrencyLimits(
            endpoint_tries=config.endpoint_tries, account_tries=config.account_tries, tries=config.tries
        )
        self._tasks = Tasks()
        self._draining = False
        self._sorted_at = float("-inf")
        self.wake = asyncio.Event()

    async def run(self) -> None:
        """Run as a named task."""
        woken = True
        while True:
            self.wake.clear()
            try:
                if woken or await store.any_due(self._database):
                    await self._set_aside()
                    while await self._lease_batch():
                        pass
            except TRANSIENT_ERRORS as error:
                log().warning("cannot read due deliveries", action="retry", error=str(error))
            woken = await set_within(self.wake, self._config.look_every_s)

    async def _set_aside(self) -> None:
        """Postpone or skip deliveries of open and disabled endpoints. Leasing excludes them too; this keeps it fast."""
        if monotonic() - self._sorted_at < self._config.look_every_s:
            return
        self._sorted_at = monotonic()
        await scheduling.park(self._database, store_endpoints.BATCH)
        skipped = await scheduling.skip(self._database, store_endpoints.BATCH)
        if skipped:
            log().info("skipped", action="deliver", count=skipped)

    async def _lease_batch(self) -> bool:
        """Lease due rows and start their tries. Return whether there may be more."""
        if self._draining or self._limits.free_slots <= 0:
            return False
        rows = await store.lease(self._database, self._limits, BATCH, self._tries.lease_s)
        put_back = [row["id"] for row in rows if not self._start(row)]
        if put_back:
            await trying.release(self._database, put_back)
        return len(rows) > len(put_back)

    def _start(self, row: Row) -> bool:
        endpoint = EndpointKey(row["account_id"], row["host"])
        if self._draining or not self._limits.acquire(endpoint):
            return False

        def ended(_task: object) -> None:
            self._limits.release(endpoint)
            self.wake.set()

        self._tasks.start(self._tries.run(row), f"delivery {row['id']}").add_done_callback(ended)
        return True

    async def drain(self) -> None:
        """Wait for tries in progress, which end by their timeouts. Other dispatchers take the rest."""
        self._draining = True
        await self._tasks.finished()

    async def stop(self) -> None:
        """Cancel tries that outlast the drain: their lease expires, and another dispatcher repeats them."""
        self._draining = True
        await self._tasks.stop()
