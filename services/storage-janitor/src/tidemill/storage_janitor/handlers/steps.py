"""Runs the steps while this process leads. A failed step is logged and repeated at the next interval."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple

import asyncpg
import nats
from prometheus_client import Counter

from tidemill.runtime.db import TRANSIENT_ERRORS
from tidemill.runtime.objects.store import ObjectStoreError
from tidemill.runtime.telemetry import log
from tidemill.storage_janitor.parts import Parts

FAILED = Counter("tidemill_janitor_failed_steps_total", "Steps that were broken off and will be repeated.", ["step"])
STANDBY_S = 1.0  # how often a standby checks whether it leads


class Step(NamedTuple):
    name: str
    run: Callable[[Parts], Awaitable[None]]


def repeat(parts: Parts, every_s: float, steps: Sequence[Step]) -> Callable[[], Coroutine[Any, Any, None]]:
    async def run() -> None:
        while True:
            led = parts.leader.held
            if led:
                await run_once(parts, steps)
            await asyncio.sleep(every_s if led else min(every_s, STANDBY_S))

    return run


async def run_once(parts: Parts, steps: Sequence[Step]) -> None:
    for step in steps:
        if not parts.leader.held:
            return
        try:
            await step.run(parts)
        except (*TRANSIENT_ERRORS, ObjectStoreError, asyncpg.LockNotAvailableError, nats.errors.Error) as error:
            FAILED.labels(step.name).inc()
            log().warning("step failed", action="retry", step=step.name, error=str(error))
