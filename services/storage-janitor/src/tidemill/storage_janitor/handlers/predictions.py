"""Removes data of API predictions when its retention is over: first the objects, then the columns of the row.

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
from tidemill.storage_janitor.pace import WINDOW_FIRST_S, next_length_s, next_window
from tidemill.storage_janitor.step_context import StepContext, list_objects, record_removed
from tidemill.storage_janitor.stored_objects import batches, output_prefix

LISTINGS_AT_ONCE: Final = 4  # they wait for the store in threads; more would delay requests of users
BEHIND: Final = Gauge("tidemill_janitor_behind_seconds", "How long data has been due that the walk has not come to")


async def scan(context: StepContext) -> None:
    """Reads every window of accepted_at once; what is not due at its turn is written down for later."""
    length_s = WINDOW_FIRST_S
    watermark = await find_watermark(context.database, store.SCAN)
    clock = await _clock(context)  # read once: a clock that advances would keep the loop running
    while context.leader.held:
        BEHIND.set(max(0.0, clock.now - clock.retention_s - watermark))
        window = next_window(watermark, clock.now, clock.retention_s, length_s)
        if window is None:
            return
        found = await store.scan_window(context.database, window, clock)
        await _remove_window(context, found, clock)
        await advance_watermark(context.database, store.SCAN, window.until)
        length_s = next_length_s(length_s, len(found.due) + len(found.later))
        watermark = window.until


class ShortRetention:
    """A scan of its own for accounts that want their data deleted sooner, close behind the present.

    It has no stored watermark: at the start, and when an account shortens its retention, it scans the default retention
    again.
    """

    def __init__(self) -> None:
        self._retentions: dict[str, int] = {}
        self._watermark = 0.0

    async def scan(self, context: StepContext) -> None:
        clock = await _clock(context)
        retentions = await store.short_retentions(context.database, clock.retention_s)
        if any(
            self._retentions.get(account, clock.retention_s) > retention_s
            for account, retention_s in retentions.items()
        ):
            self._watermark = 0.0
        self._retentions = retentions
        if not retentions:
            return
        self._watermark = max(self._watermark, clock.now - clock.retention_s)
        length_s = WINDOW_FIRST_S
        while context.leader.held:
            window = next_window(self._watermark, clock.now, min(retentions.values()), length_s)
            if window is None:
                return
            found = await store.scan_window(context.database, window, clock, of_short_retention=True)
            await _remove_window(context, found, clock)
            self._watermark = window.until
            length_s = next_length_s(length_s, len(found.due) + len(found.later))

    async def remove_events(self, context: StepContext) -> None:
        """Remove events of these accounts from the streams, which keep everything for the default retention."""
        clock = await _clock(context)
        for account, retention_s in self._retentions.items():
            if not context.leader.held:
                return
            await removal.remove_events_before(context.bus, account, at(clock.now - retention_s))


async def remove_deferred(context: StepContext) -> None:
    """Those that the scan has passed: open or young at their turn, or with a webhook still on its way."""
    while context.leader.held:
        clock = await _clock(context)
        batch = await store.deferred(context.database, clock)
        await _remove_data(context, batch, clock)
        if len(batch) < store.BATCH:
            return


async def expired_keys(context: StepContext) -> None:
    """Delete expired idempotency keys; after that the same request creates another prediction."""
    while context.leader.held:
        count = await store.expire_keys(context.database)
        record_removed("idempotency_key", count)
        if count < store.BATCH:
            return


async def _clock(context: StepContext) -> store.RetentionClock:
    return store.RetentionClock(await store.now(context.database), context.config.retention_s)


async def _remove_window(context: StepContext, found: store.ScanResult, clock: store.RetentionClock) -> None:
    await defer(context.database, found.later)
    for batch in batches(found.due, store.BATCH):
        await _remove_data(context, batch, clock)


async def _remove_data(context: StepContext, batch: Sequence[store.DuePrediction], clock: store.RetentionClock) -> None:
    if not batch:
        return
    keys = await output_keys(context, [due.id for due in batch if due.files])
    if keys:
        await context.objects.delete(keys)
        record_removed("output_file", len(keys))
    gone = await remove_due(context.database, [due.id for due in batch], clock.now, clock.retention_s)
    record_removed("prediction_data", gone.predictions)
    for prediction in gone.early:
        with contextlib.suppress(*removal.FAILURES):  # the stream drops it after its retention
            await removal.remove_output(context.bus, prediction)


async def output_keys(context: StepContext, predictions: Sequence[str]) -> list[str]:
    keys: list[str] = []
    for some in batches(predictions, LISTINGS_AT_ONCE):
        found = await asyncio.gather(*(list_objects(context.objects, output_prefix(prediction)) for prediction in some))
        keys.extend(stored.key for objects in found for stored in objects)
    return keys
