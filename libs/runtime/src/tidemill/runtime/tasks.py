"""Tasks that start on demand and end by themselves: each has a name and an owner, and its failure is logged.

A task that runs as long as its service belongs to the service (`Service.task`).
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tidemill.runtime.telemetry import log

ResultT = TypeVar("ResultT")


class Tasks:
    """The tasks of one owner. When a task ends with an exception, it is logged and `failed` is called with it."""

    def __init__(self, failed: Callable[[BaseException], None] | None = None) -> None:
        self._failed = failed
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, work: Coroutine[Any, Any, ResultT], name: str) -> asyncio.Task[ResultT]:
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log().error("task failed", action="run", task=task.get_name(), exc_info=error)
            if self._failed is not None:
                self._failed(error)

    async def finished(self) -> None:
        """Return when the tasks that run now have ended by themselves."""
        if self._running:
            await asyncio.wait(set(self._running))

    async def stop(self) -> None:
        """Cancel all tasks and return when they have ended."""
        running = set(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event for at most `seconds`. Return whether it is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
