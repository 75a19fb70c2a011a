"""Gives up work for a run when the run is told to stop."""

import asyncio
from collections.abc import Awaitable
from typing import Final, Never, TypeVar

from tidemill.contracts.errors import ErrorCode
from tidemill.worker.runs.run import Run, RunFailed

CHECK_EVERY_S: Final = 0.25  # as the watchdog

ResultT = TypeVar("ResultT")


async def unless_stopped(run: Run, work: Awaitable[ResultT]) -> ResultT:
    """Return the result of `work`. Cancel it and raise RunFailed if the run is stopped or lost first.

    `run.stop`, not this error, then says how the run ends.
    """
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(run), name=f"watch {run.job.id}")
            made = await work
            watching.cancel()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return made


async def _watch(run: Run) -> Never:
    while run.stop is None and not run.lost:  # noqa: ASYNC110 - an event for each run would cost those that need none
        await asyncio.sleep(CHECK_EVERY_S)
    raise RunFailed("The prediction was stopped.", ErrorCode.INTERNAL)
