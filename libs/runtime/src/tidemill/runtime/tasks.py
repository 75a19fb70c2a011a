"""Tasks that begin on demand and end by themselves: named, owned, looked at when they end, and ended with their owner.

What runs for as long as its service does is the service's own (`Service.task`).
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tidemill.runtime.telemetry import log

ResultT = TypeVar("ResultT")


class Tasks:
    """The tasks of one owner. One that ends with an error that nobody foresaw is logged, and `failed` is told of it."""

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
        """Return when those that run now have ended by themselves."""
        if self._running:
            await asyncio.wait(set(self._running))

    async def stop(self) -> None:
        """Cancel what runs, and return when it has ended."""
        running = set(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event was set before the time was over; return as soon as it is known."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
