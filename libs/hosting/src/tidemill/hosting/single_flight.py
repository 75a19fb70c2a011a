"""Shares one running call between concurrent callers of the same key ("single flight"). It caches nothing."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ResultT = TypeVar("ResultT")


class _SharedCall(Generic[ResultT]):
    def __init__(self, task: asyncio.Task[ResultT]) -> None:
        self.task = task
        self.callers = 0


class SingleFlight(Generic[KeyT, ResultT]):
    """A shared call runs while at least one caller waits. A canceled caller does not cancel it for the others."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: dict[KeyT, _SharedCall[ResultT]] = {}

    async def run(self, key: KeyT, call: Callable[[], Coroutine[Any, Any, ResultT]]) -> ResultT:
        """Return or raise what `call` does. It is started only if none is running for `key`."""
        shared = self._calls.get(key)
        if shared is None:
            shared = _SharedCall(asyncio.create_task(call(), name=f"{self._name} {key}"))
            self._calls[key] = shared
            shared.task.add_done_callback(_retrieve_exception)
        shared.callers += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.callers -= 1
            if not shared.callers:
                # New callers start a new call, even while this one is still being canceled.
                if self._calls.get(key) is shared:
                    del self._calls[key]
                await _cancel(shared.task)

    async def close(self) -> None:
        calls = list(self._calls.values())
        for shared in calls:
            shared.task.cancel()
        await asyncio.gather(*(shared.task for shared in calls), return_exceptions=True)


async def _cancel(task: asyncio.Task[Any]) -> None:
    """Cancel the task and wait until it has ended and released its resources."""
    if not task.done():
        task.cancel()
        await asyncio.wait([task])


def _retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Mark the exception as retrieved: all callers may be gone, and asyncio would report it."""
    if not task.cancelled():
        task.exception()
