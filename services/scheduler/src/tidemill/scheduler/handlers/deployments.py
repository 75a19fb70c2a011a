"""Reads which deployments have changed, every second, so that a leader knows their floors from its first plan on."""

import asyncio
from typing import Final

from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log
from tidemill.scheduler import store
from tidemill.scheduler.deployed import Deployed

EVERY_S: Final = 1.0  # how soon a change takes effect; the statement reads what has changed and no more
FORGET_EVERY_S: Final = 600.0  # what is forgotten is a day old


async def follow(database: Database, deployed: Deployed) -> None:
    """Named task. While the database is away what was known goes on holding."""
    forget_at = monotonic() + FORGET_EVERY_S
    while True:
        try:
            deployed.read(await store.deployments(database, deployed.changed_at, monotonic()))
        except TRANSIENT_ERRORS as error:
            log().warning("database away", action="retry", what="deployments", error=str(error))
        if monotonic() >= forget_at:
            deployed.forget(monotonic())
            forget_at = monotonic() + FORGET_EVERY_S
        await asyncio.sleep(EVERY_S)
