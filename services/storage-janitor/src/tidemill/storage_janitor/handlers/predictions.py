"""Data of API predictions goes when its retention is over: the objects first, then what the row says of them.

A crash in between leaves a row that is found again, for the walk moves on only when its stretch is done.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from tidemill.storage_janitor import store
from tidemill.storage_janitor.handlers.parts import Parts, listed, removed
from tidemill.storage_janitor.leftovers import batches, outputs_of
from tidemill.storage_janitor.pace import SLICE_FIRST_S, next_slice_s, next_stretch

LISTINGS_AT_ONCE: Final = 4  # they wait for the store in threads; more would crowd out whom users wait for


async def walk(parts: Parts) -> None:
    """Reads every stretch of accepted_at once; what is not due at its turn is written down for later."""
    slice_s = SLICE_FIRST_S
    reached = await store.reached(parts.database)
    retention_s = parts.config.retention_s
    now = await store.now(parts.database)  # once: chasing a clock that goes on would never end
    while parts.leader.held:
        stretch = next_stretch(reached, now, retention_s, slice_s)
        if stretch is None:
            return
        found = await store.found_in(parts.database, stretch, now - retention_s)
        await store.defer(parts.database, found.later)
        for batch in batches(found.due, store.BATCH):
            await _forget(parts, batch, now - retention_s)
        await store.reach(parts.database, stretch.until)
        slice_s = next_slice_s(slice_s, len(found.due) + len(found.later))
        reached = stretch.until


async def put_off(parts: Parts) -> None:
    """Those that the walk has passed: open or young at their turn, or with a webhook still on its way."""
    while parts.leader.held:
        completed_before = await store.now(parts.database) - parts.config.retention_s
        batch = await store.deferred(parts.database, completed_before)
        await _forget(parts, batch, completed_before)
        if len(batch) < store.BATCH:
            return


async def _forget(parts: Parts, batch: Sequence[store.Due], completed_before: float) -> None:
    if not batch:
        return
    keys = await keys_of(parts, [due.id for due in batch if due.files])
    if keys:
        await parts.objects.delete(keys)
        removed("output_file", len(keys))
    count = await store.forget(parts.database, [due.id for due in batch], completed_before)
    removed("prediction_data", count)


async def keys_of(parts: Parts, predictions: Sequence[str]) -> list[str]:
    keys: list[str] = []
    for some in batches(predictions, LISTINGS_AT_ONCE):
        found = await asyncio.gather(*(listed(parts.objects, outputs_of(prediction)) for prediction in some))
        keys.extend(stored.key for objects in found for stored in objects)
    return keys
