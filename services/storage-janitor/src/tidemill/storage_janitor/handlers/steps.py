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
from tidemill.storage_janitor.step_context import StepContext

FAILED = Counter("tidemill_janitor_failed_steps_total", "Steps that were broken off and will be repeated.", ["step"])
STANDBY_S = 1.0  # how often a standby checks whether it leads


class Step(NamedTuple):
    name: str
    run: Callable[[StepContext], Awaitable[None]]


def repeat(context: StepContext, every_s: float, steps: Sequence[Step]) -> Callable[[], Coroutine[Any, Any, None]]:
    async def run() -> None:
        while True:
            led = context.leader.held
            if led:
                await run_once(context, steps)
            await asyncio.sleep(every_s if led else min(every_s, STANDBY_S))

    return run


async def run_once(context: StepContext, steps: Sequence[Step]) -> None:
    for step in steps:
        if not context.leader.held:
            return
        try:
            await step.run(context)
        except (*TRANSIENT_ERRORS, ObjectStoreError, asyncpg.LockNotAvailableError, nats.errors.Error) as error:
            FAILED.labels(step.name).inc()
            log().warning("step failed", action="retry", step=step.name, error=str(error))
