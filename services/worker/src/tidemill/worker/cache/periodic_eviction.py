"""Keeps the cache within its limit: evicts what was used longest ago, and never what is in use."""

import asyncio
from collections.abc import Callable
from typing import Final

from tidemill.hosting.environments.store import Environments
from tidemill.runtime.telemetry import log
from tidemill.worker.cache.bundles import BundleCache

EVERY_S: Final = 600.0  # each look walks the whole cache; disks fill in hours


async def evict_periodically(
    bundles: BundleCache,
    environments: Environments,
    environments_in_use: Callable[[], frozenset[str]],
    limit_bytes: int,
) -> None:
    """Named task. Model files and environments may each take half of the limit."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            await bundles.evict(limit_bytes // 2)
            await environments.evict(limit_bytes // 2, environments_in_use())
        except OSError as error:
            log().warning("cannot evict", action="evict", error=str(error))
