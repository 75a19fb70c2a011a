"""Data of API predictions goes when its retention is over: the objects first, then what the row says of them.

A crash in between leaves a row that is found again, for the walk moves on only when its stretch is done.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from prometheus_client import Gauge

from tidemill.runtime.clock import at
from tidemill.runtime.predictions.removal import defer, remove_due
from tidemill.runtime.streams import removal
from tidemill.storage_janitor import store
from tidemill.storage_janitor.handlers.parts import Parts, listed, removed
from tidemill.storage_janitor.leftovers import batches, outputs_of
from tidemill.storage_janitor.pace import SLICE_FIRST_S, next_slice_s, next_stretch

LISTINGS_AT_ONCE: Final = 4  # they wait for the store in threads; more would crowd out whom users wait for
BEHIND: Final = Gauge("tidemill_janitor_behind_seconds", "How long data has been due that the walk has not come to")


async def walk(parts: Parts) -> None:
    """Reads every stretch of accepted_at once; what is not due at its turn is written down for later."""
    slice_s = SLICE_FIRST_S
    reached = await store.reached(parts.database)
    clock = await _clock(parts)  # once: chasing one that goes on would never end
    while parts.leader.held:
        BEHIND.set(max(0.0, clock.now - clock.retention_s - reached))
        stretch = next_stretch(reached, clock.now, clock.retention_s, slice_s)
        if stretch is None:
            return
        found = await store.found_in(parts.database, stretch, clock)
        await _take(parts, found, clock)
        await store.reach(parts.database, stretch.until)
        slice_s = next_slice_s(slice_s, len(found.due) + len(found.later))
        reached = stretch.until


class ShortRetention:
    """A walk of its own for accounts that want their data deleted sooner, close behind the present.

    It remembers nothing: when it begins, and when an account changes its mind, it goes back as far as data is kept.
    """

    def __init__(self) -> None:
        self._wanted: dict[str, int] = {}
        self._reached = 0.0

    async def walk(self, parts: Parts) -> None:
        clock = await _clock(parts)
        wanted = await store.impatient(parts.database, clock.retention_s)
        if any(self._wanted.get(account, clock.retention_s) > retention_s for account, retention_s in wanted.items()):
            self._reached = 0.0
        self._wanted = wanted
        if not wanted:
            return
        self._reached = max(self._reached, clock.now - clock.retention_s)
        slice_s = SLICE_FIRST_S
        while parts.leader.held:
            stretch = next_stretch(self._reached, clock.now, min(wanted.values()), slice_s)
            if stretch is None:
                return
            found = await store.found_in(parts.database, stretch, clock, impatient=True)
            await _take(parts, found, clock)
            self._reached = stretch.until
            slice_s = next_slice_s(slice_s, len(found.due) + len(found.later))

    async def forget_events(self, parts: Parts) -> None:
        """The streams keep everybody's for the usual time."""
        clock = await _clock(parts)
        for account, retention_s in self._wanted.items():
            if not parts.leader.held:
                return
            await removal.remove_events_before(parts.bus, account, at(clock.now - retention_s))


async def put_off(parts: Parts) -> None:
    """Those that the walk has passed: open or young at their turn, or with a webhook still on its way."""
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
