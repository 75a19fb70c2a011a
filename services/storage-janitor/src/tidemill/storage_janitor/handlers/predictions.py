"""Data of API predictions goes when its retention is over: the objects first, then what the row says of them.

A crash in between leaves a row that is found again, for the watermark moves on only when its window is done.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from prometheus_client import Gauge

from tidemill.runtime.clock import at
from tidemill.runtime.predictions.removal import defer, remove_due
from tidemill.runtime.scan import advance_watermark, find_watermark
from tidemill.runtime.streams import removal
from tidemill.storage_janitor import store
from tidemill.storage_janitor.handlers.parts import Parts, listed, removed
from tidemill.storage_janitor.leftovers import batches, outputs_of
from tidemill.storage_janitor.pace import WINDOW_FIRST_S, next_length_s, next_window

LISTINGS_AT_ONCE: Final = 4  # they wait for the store in threads; more would crowd out whom users wait for
BEHIND: Final = Gauge("tidemill_janitor_behind_seconds", "How long data has been due that the walk has not come to")


async def scan(parts: Parts) -> None:
    """Reads every window of accepted_at once; what is not due at its turn is written down for later."""
    length_s = WINDOW_FIRST_S
    watermark = await find_watermark(parts.database, store.SCAN)
    clock = await _clock(parts)  # once: chasing one that goes on would never end
    while parts.leader.held:
        BEHIND.set(max(0.0, clock.now - clock.retention_s - watermark))
        window = next_window(watermark, clock.now, clock.retention_s, length_s)
        if window is None:
            return
        found = await store.found_in(parts.database, window, clock)
        await _take(parts, found, clock)
        await advance_watermark(parts.database, store.SCAN, window.until)
        length_s = next_length_s(length_s, len(found.due) + len(found.later))
        watermark = window.until


class ShortRetention:
    """A scan of its own for accounts that want their data deleted sooner, close behind the present.

    It remembers nothing: when it begins, and when an account changes its mind, it goes back as far as data is kept.
    """

    def __init__(self) -> None:
        self._wanted: dict[str, int] = {}
        self._watermark = 0.0

    async def scan(self, parts: Parts) -> None:
        clock = await _clock(parts)
        wanted = await store.impatient(parts.database, clock.retention_s)
        if any(self._wanted.get(account, clock.retention_s) > retention_s for account, retention_s in wanted.items()):
            self._watermark = 0.0
        self._wanted = wanted
        if not wanted:
            return
        self._watermark = max(self._watermark, clock.now - clock.retention_s)
        length_s = WINDOW_FIRST_S
        while parts.leader.held:
            window = next_window(self._watermark, clock.now, min(wanted.values()), length_s)
            if window is None:
                return
            found = await store.found_in(parts.database, window, clock, impatient=True)
            await _take(parts, found, clock)
            self._watermark = window.until
            length_s = next_length_s(length_s, len(found.due) + len(found.later))

    async def forget_events(self, parts: Parts) -> None:
        """The streams keep everybody's for the usual time."""
        clock = await _clock(parts)
        for account, retention_s in self._wanted.items():
            if not parts.leader.held:
                return
            await removal.remove_events_before(parts.bus, account, at(clock.now - retention_s))


async def put_off(parts: Parts) -> None:
    """Those that the scan has passed: open or young at their turn, or with a webhook still on its way."""
    while parts.leader.held:
        clock = await _clock(parts)
        batch = await store.deferred(parts.database, clock)
        await _forget(parts, batch, clock)
        if len(batch) < store.BATCH:
            return


async def expired_keys(parts: Parts) -> None:
    """Keys of creates, after which the same request makes another prediction."""
    while parts.leader.held:
        count = await store.expire_keys(parts.database)
        removed("idempotency_key", count)
        if count < store.BATCH:
            return


async def _clock(parts: Parts) -> store.Clock:
    return store.Clock(await store.now(parts.database), parts.config.retention_s)


async def _take(parts: Parts, found: store.Found, clock: store.Clock) -> None:
    await defer(parts.database, found.later)
    for batch in batches(found.due, store.BATCH):
        await _forget(parts, batch, clock)


async def _forget(parts: Parts, batch: Sequence[store.Due], clock: store.Clock) -> None:
    if not batch:
        return
    keys = await keys_of(parts, [due.id for due in batch if due.files])
    if keys:
        await parts.objects.delete(keys)
        removed("output_file", len(keys))
    gone = await remove_due(parts.database, [due.id for due in batch], clock.now, clock.retention_s)
    removed("prediction_data", gone.predictions)
    for prediction in gone.early:
        with contextlib.suppress(*removal.FAILURES):  # it goes with its age
            await removal.remove_output(parts.bus, prediction)


async def keys_of(parts: Parts, predictions: Sequence[str]) -> list[str]:
    keys: list[str] = []
    for some in batches(predictions, LISTINGS_AT_ONCE):
        found = await asyncio.gather(*(listed(parts.objects, outputs_of(prediction)) for prediction in some))
        keys.extend(stored.key for objects in found for stored in objects)
    return keys
