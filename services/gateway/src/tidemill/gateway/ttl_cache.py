"""Look-ups that are remembered for a few seconds: a warm request asks nobody.

However many want the same thing at one moment, one look-up asks for it; and what is asked for all the time is looked up
anew a little before it is too old, so that nobody waits. An error is told to those who wait and is not remembered.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, NamedTuple, TypeVar

from tidemill.runtime.clock import monotonic

LIMIT: Final = 10_000  # entries; bounds memory under a flood of made-up keys
RENEWED_AT: Final = 0.8  # of an entry's time: a database that is slow for a second is not felt at 5 s

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class _Entry(NamedTuple, Generic[ValueT]):
    value: ValueT
    renew_at: float
    until: float


class TtlCache(Generic[KeyT, ValueT]):
    """`look_up` answers the value and for how many seconds it holds, counted from when it was asked.

    Nobody waits for it longer than `within_s`.
    """

    def __init__(
        self, look_up: Callable[[KeyT], Awaitable[tuple[ValueT, float]]], within_s: float | None = None
    ) -> None:
        self._look_up = look_up
        self._within_s = within_s
        self._entries: dict[KeyT, _Entry[ValueT]] = {}
        self._asking: dict[KeyT, asyncio.Task[ValueT]] = {}
        self._tasks: set[asyncio.Task[ValueT]] = set()  # those too whose answer is for nobody but who waits already

    async def get(self, key: KeyT) -> ValueT:
        """Raises what the look-up raises, and TimeoutError."""
        entry, now = self._entries.get(key), monotonic()
        if entry is None or now >= entry.until:
            async with asyncio.timeout(self._within_s):
                return await asyncio.shield(self._ask(key))
        if now >= entry.renew_at:
            self._ask(key)
        return entry.value

    def peek(self, key: KeyT) -> ValueT | None:
        """What was found last, however old; None when that was long ago or never."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def invalidate(self, which: Callable[[KeyT, ValueT], bool] = lambda _key, _value: True) -> None:
        """Those are looked up anew. What is being looked up right now may be from before the change, so it is told to
        those who wait for it and not remembered.
        """
        self._asking.clear()
        for key in [key for key, entry in self._entries.items() if which(key, entry.value)]:
            del self._entries[key]

    def _ask(self, key: KeyT) -> asyncio.Task[ValueT]:
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._remember(key), name="look-up")
            self._tasks.add(task)
            task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[ValueT]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits gets it; a renewal that failed is asked for again when it is needed

    async def _remember(self, key: KeyT) -> ValueT:
        began, task = monotonic(), asyncio.current_task()
        try:
            value, holds_s = await self._look_up(key)
            if self._asking.get(key) is task:
                self._keep(key, _Entry(value, began + RENEWED_AT * holds_s, began + holds_s))
        finally:
            if self._asking.get(key) is task:
                del self._asking[key]
        return value

    def _keep(self, key: KeyT, entry: _Entry[ValueT]) -> None:
        if len(self._entries) >= LIMIT:
            self._entries.clear()
        self._entries[key] = entry
