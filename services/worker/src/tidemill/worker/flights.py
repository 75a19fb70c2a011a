"""One call for all who ask for the same thing at the same time."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ResultT = TypeVar("ResultT")


class Flights(Generic[KeyT, ResultT]):
    """A call belongs to this object, not to who asked first: a canceled asker does not end it for the others."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: dict[KeyT, asyncio.Task[ResultT]] = {}

    async def join(self, key: KeyT, call: Callable[[], Coroutine[Any, Any, ResultT]]) -> ResultT:
        """What `call` answers or raises; it is started unless one for `key` is under way."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(call(), name=f"{self._name} {key}")
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(task)

    def _landed(self, key: KeyT, task: asyncio.Task[ResultT]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # all who asked may be gone: then nobody else looks at it

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
