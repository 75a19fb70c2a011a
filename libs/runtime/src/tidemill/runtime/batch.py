"""Micro-batches: the items that arrive during one flush are flushed together in the next one.

One flush runs at a time, and none waits for more items: a single item is written at once, and under load many share
the cost of one write and one commit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Batcher(Generic[ItemT, ResultT]):
    """Collects items for `flush`, which returns one result for each item, in order, or raises for all of them."""

    def __init__(self, flush: Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT]]], *, limit: int = 256) -> None:
        self._flush = flush
        self._limit = limit  # bounds the size of one statement
        self._waiting: list[tuple[ItemT, asyncio.Future[ResultT]]] = []
        self._flusher: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Return the number of items that are not in a flush yet."""
        return len(self._waiting)

    def add(self, item: ItemT) -> asyncio.Future[ResultT]:
        future: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._run(), name="batch")
        return future

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
                await self._one(batch)
        finally:
            self._flusher = None

    async def _one(self, batch: list[tuple[ItemT, asyncio.Future[ResultT]]]) -> None:
        try:
            results = await self._flush([item for item, _ in batch])
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error if isinstance(error, Exception) else ConnectionAbortedError("closing"))
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)

    async def drained(self) -> None:
        """Return when everything added so far has been flushed."""
        while self._flusher is not None:
            await asyncio.wait([self._flusher])
