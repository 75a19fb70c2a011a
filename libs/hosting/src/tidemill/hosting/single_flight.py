"""One call for all who ask for the same thing at the same time."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ResultT = TypeVar("ResultT")


class _Flight(Generic[ResultT]):
    def __init__(self, task: asyncio.Task[ResultT]) -> None:
        self.task = task
        self.askers = 0


class SingleFlight(Generic[KeyT, ResultT]):
    """A call goes on for as long as anybody asks for it: one canceled asker does not end it for the others."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._flights: dict[KeyT, _Flight[ResultT]] = {}

    async def run(self, key: KeyT, call: Callable[[], Coroutine[Any, Any, ResultT]]) -> ResultT:
        """What `call` answers or raises; it is started unless one for `key` is under way."""
        flight = self._flights.get(key)
        if flight is None:
            flight = _Flight(asyncio.create_task(call(), name=f"{self._name} {key}"))
            self._flights[key] = flight
            flight.task.add_done_callback(_look_at)
        flight.askers += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.askers -= 1
            if not flight.askers:
                # Who asks from now on starts afresh, also while this one is still on its way out.
                if self._flights.get(key) is flight:
                    del self._flights[key]
                await _end(flight.task)

    async def close(self) -> None:
        flights = list(self._flights.values())
        for flight in flights:
            flight.task.cancel()
        await asyncio.gather(*(flight.task for flight in flights), return_exceptions=True)


async def _end(task: asyncio.Task[Any]) -> None:
    """Returns when it is over: what it holds is then given back."""
    if not task.done():
        task.cancel()
        await asyncio.wait([task])


def _look_at(task: asyncio.Task[Any]) -> None:
    """All who asked may be gone: then nobody else looks at how it failed."""
    if not task.cancelled():
        task.exception()
