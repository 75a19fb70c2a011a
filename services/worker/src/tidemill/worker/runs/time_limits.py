"""Reads the time limits of accounts that have one of their own, every few seconds instead of with each claim."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log
from tidemill.worker import store

EVERY_S: Final = 5.0  # a limit that an operator sets holds after this time


async def follow(database: Database, tell: Callable[[Mapping[str, float]], None]) -> None:
    """Named task: passes the limits on. While the database is unreachable, the last ones hold."""
    while True:
        try:
            tell(await store.time_limits(database))
        except TRANSIENT_ERRORS as error:
            log().warning("cannot read", action="time limits", error=str(error))
        await asyncio.sleep(EVERY_S)
