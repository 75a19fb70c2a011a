"""Keeps what accounts may run at most, for the few with a limit of their own: read every few seconds, by no claim."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log
from tidemill.worker import store

EVERY_S: Final = 5.0  # an operator who sets a limit waits no longer


async def follow(database: Database, tell: Callable[[Mapping[str, float]], None]) -> None:
    """Named task. While the database is away what was known holds."""
    while True:
        try:
            tell(await store.time_limits(database))
        except TRANSIENT_ERRORS as error:
            log().warning("cannot read", action="time limits", error=str(error))
        await asyncio.sleep(EVERY_S)
