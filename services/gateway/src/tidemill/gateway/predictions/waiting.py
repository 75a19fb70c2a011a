"""Requests that wait for the end of a prediction: woken by its event, or by its row if the event was lost."""

import asyncio

from tidemill.contracts.events import Lifecycle
from tidemill.gateway import stores
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log

Waiter = asyncio.Future[Lifecycle | None]


async def ended_within(waiter: Waiter, seconds: float) -> bool:
    """Return whether the prediction ended in time; then the waiter has its result.

    It uses its own timer: asyncio.timeout, which cancels the whole task, costs 4 µs more per waiting request.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _give_up, waiter)
    try:
        await waiter
    except TimeoutError:
        return False
    finally:
        timer.cancel()
    return True


def _give_up(waiter: Waiter) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


class Waiters:
    """Futures by prediction id. A result of None means: it has ended, read the row."""

    def __init__(self, database: Database, poll_s: float) -> None:
        self._database = database
        self._poll_s = poll_s
        self._waiting: dict[str, list[Waiter]] = {}  # several, if a repeated request waits for the same prediction
        self._closing = False

    def expect(self, prediction_id: str) -> Waiter:
        """Call it before the prediction is accepted, or its row is read, so that no event is missed."""
        future: Waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(prediction_id, []).append(future)
        if self._closing:
            _give_up(future)
        return future

    def forget(self, prediction_id: str, future: Waiter) -> None:
        if future.done() and not future.cancelled():
            future.exception()  # marks the exception as retrieved
        waiting = self._waiting.get(prediction_id)
        if waiting is not None and future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._waiting[prediction_id]

    def on_completed(self, event: Lifecycle) -> None:
        self._wake(event.id, event)

    def stop(self) -> None:
        """End all waits, and future ones, as after their timeout: the gateway is stopping."""
        self._closing = True
        for futures in self._waiting.values():
            for future in futures:
                _give_up(future)

    async def poll(self) -> None:
        """Named task: reads the rows of predictions that were waited for a whole interval."""
        old: set[str] = set()
        while True:
            await asyncio.sleep(self._poll_s)
            suspects = [key for key in self._waiting if key in old]
            old = set(self._waiting)
            if suspects:
                await self._wake_ended(suspects)

    async def _wake_ended(self, suspects: list[str]) -> None:
        try:
            ended = await stores.predictions.list_ended(self._database, suspects)
        except TRANSIENT_ERRORS as error:
            log().warning("cannot poll", action="retry", error=str(error))
            return
        for prediction_id in ended:
            self._wake(prediction_id, None)

    def _wake(self, prediction_id: str, event: Lifecycle | None) -> None:
        for future in self._waiting.pop(prediction_id, ()):
            if not future.done():
                future.set_result(event)
