"""An async cache with a time to live and single flight: one look-up at a time for each key.

A key that is used all the time is refreshed a little before it expires, so that no request waits. An error is raised
in all that wait for the look-up, and is not cached. A look-up is never canceled, unlike those of `hosting.flights`,
which end with the last caller that waits.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, NamedTuple, TypeVar

from tidemill.runtime.clock import monotonic

LIMIT: Final = 10_000  # entries; bounds memory under a flood of made-up keys
REFRESH_AT: Final = 0.8  # of an entry's time to live: at 5 s, a database that is slow for a second delays nothing

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class _Entry(NamedTuple, Generic[ValueT]):
    value: ValueT
    refresh_at: float
    expires_at: float


class TtlCache(Generic[KeyT, ValueT]):
    """`look_up` returns the value and its time to live in seconds, counted from the start of the look-up.

    `within_s`: how long a caller waits for a look-up; None for no limit.
    """

    def __init__(
        self, look_up: Callable[[KeyT], Awaitable[tuple[ValueT, float]]], within_s: float | None = None
    ) -> None:
        self._look_up = look_up
        self._within_s = within_s
        self._entries: dict[KeyT, _Entry[ValueT]] = {}
        self._flights: dict[KeyT, asyncio.Task[ValueT]] = {}
        self._tasks: set[asyncio.Task[ValueT]] = (
            set()
        )  # also those that `invalidate` has dropped: their callers still wait

    async def get(self, key: KeyT) -> ValueT:
        """Return the value. Raise what the look-up raises, and TimeoutError."""
        entry, now = self._entries.get(key), monotonic()
        if entry is None or now >= entry.expires_at:
            async with asyncio.timeout(self._within_s):
                return await asyncio.shield(self._start(key))
        if now >= entry.refresh_at:
            self._start(key)
        return entry.value

    def peek(self, key: KeyT) -> ValueT | None:
        """Return the value found last, however old. None if there is none, or it was evicted."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def invalidate(self, which: Callable[[KeyT, ValueT], bool] = lambda _key, _value: True) -> None:
        """Remove the entries that `which` selects. A look-up under way may have read the state before the change: its
        callers get the value, but it is not cached.
        """
        self._flights.clear()
        for key in [key for key, entry in self._entries.items() if which(key, entry.value)]:
            del self._entries[key]

    def _start(self, key: KeyT) -> asyncio.Task[ValueT]:
        task = self._flights.get(key)
        if task is None:
            task = self._flights[key] = asyncio.create_task(self._fetch(key), name="look-up")
            self._tasks.add(task)
            task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[ValueT]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its callers get it; a refresh that failed is repeated when the entry is used again

    async def _fetch(self, key: KeyT) -> ValueT:
        began, task = monotonic(), asyncio.current_task()
        try:
            value, ttl_s = await self._look_up(key)
            if self._flights.get(key) is task:
                self._put(key, _Entry(value, began + REFRESH_AT * ttl_s, began + ttl_s))
        finally:
            if self._flights.get(key) is task:
                del self._flights[key]
        return value

    def _put(self, key: KeyT, entry: _Entry[ValueT]) -> None:
        if len(self._entries) >= LIMIT:
            self._entries.clear()
        self._entries[key] = entry
