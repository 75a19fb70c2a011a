"""Removes old deliveries and unused endpoints. Runs in the leading dispatcher."""

import asyncio
from typing import Final

from tidemill.contracts.ids import id_at
from tidemill.runtime.clock import now
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.deliveries.removal import purge
from tidemill.runtime.leader import Leader
from tidemill.runtime.telemetry import log
from tidemill.webhook_dispatcher import store, store_endpoints
from tidemill.webhook_dispatcher.config import Config

IDLE_ENDPOINT_KEPT_S: Final = 30 * 86_400.0  # an endpoint without deliveries for this long is removed


class Purger:
    def __init__(self, config: Config, database: Database, leader: Leader) -> None:
        self._config = config
        self._database = database
        self._leader = leader

    async def run(self) -> None:
        """Run as a named task."""
        while True:
            if self._leader.held:
                try:
                    await self._remove()
                except TRANSIENT_ERRORS as error:
                    log().warning("purge failed", action="retry", error=str(error))
            await asyncio.sleep(self._config.upkeep_every_s if self._leader.held else 1.0)

    async def _remove(self) -> None:
        before = f"msg_{id_at(int((now() - self._config.log_kept_s) * 1000), 0)}"
        while self._leader.held:
            count = await purge(self._database, before, store.PURGE_BATCH)
            if count:
                log().info("removed", action="remove", kind="delivery", count=count)
            if count < store.PURGE_BATCH:
                break
        await store_endpoints.purge(self._database, IDLE_ENDPOINT_KEPT_S)
