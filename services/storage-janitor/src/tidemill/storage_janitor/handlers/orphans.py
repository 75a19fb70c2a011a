"""Objects that no row names and blobs that nothing refers to, once they are old enough to be nobody's work.

An object is found by listing the store, so that a crash after its row went is made good the next time.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from tidemill.runtime.clock import now
from tidemill.storage_janitor import store, store_uploads
from tidemill.storage_janitor.handlers.parts import Parts, listed, removed
from tidemill.storage_janitor.leftovers import BLOBS, OUTPUTS, UPLOADS, Stored, batches, old

BATCH: Final = 1000  # keys of one deletion: S3's limit
BLOB_BATCH: Final = 50  # keeps the time short between asking who has a blob and deleting its bytes


async def outputs(parts: Parts) -> None:
    """Files of predictions without a row, and those that came after the data of their prediction had been removed."""
    for batch in batches(await listed(parts.objects, OUTPUTS), BATCH):
        if not parts.leader.held:
            return
        kept = await store.kept(parts.database, [stored.owner for stored in batch])
        late = [stored for stored in batch if kept.get(stored.owner)]
        lost = old((stored for stored in batch if stored.owner not in kept), now(), parts.config.orphan_age_s)
        await _delete(parts, "output_file", [*late, *lost])


async def uploads(parts: Parts) -> None:
    for prefix in UPLOADS:
        found = old(await listed(parts.objects, prefix), now(), parts.config.orphan_age_s)
        for batch in batches(found, BATCH):
            if not parts.leader.held:
                return
            named = await store_uploads.named(parts.database, [stored.key for stored in batch])
            await _delete(parts, "upload", [stored for stored in batch if stored.key not in named])


async def parts_of_objects(parts: Parts) -> None:
    """Of large objects whose sender died before all parts were there."""
    before = datetime.fromtimestamp(now() - parts.config.orphan_age_s, UTC)
    removed("unfinished_object", await parts.objects.abandon_parts(before))


async def blob_rows(parts: Parts) -> None:
    """Rows first: a push that names such a file from now on is told to upload it."""
    created_before = await store.now(parts.database) - parts.config.orphan_age_s
    found = await store_uploads.unreferred(parts.database, created_before)
    if found.digests:
        removed("blob_row", await store_uploads.delete_blobs(parts.database, found, created_before))


async def blob_objects(parts: Parts) -> None:
    """Bytes that no account has any more."""
    found = old(await listed(parts.objects, BLOBS), now(), parts.config.orphan_age_s)
    for batch in batches(found, BLOB_BATCH):
        if not parts.leader.held:
            return
        owned = await store_uploads.owned(parts.database, [stored.owner for stored in batch])
        unowned = [stored for stored in batch if stored.owner not in owned]
        if unowned:
            await _delete_blobs(parts, unowned)


async def _delete_blobs(parts: Parts, unowned: Sequence[Stored]) -> None:
    digests = [stored.owner for stored in unowned]
    kept = await store_uploads.owned_or_referred(parts.database, digests)
    gone = [stored for stored in unowned if stored.owner not in kept and await _still_old(parts, stored)]
    await _delete(parts, "blob", gone)
    # An upload may have ended between the last look and the deletion: its row must not promise bytes that are gone.
    again = await store_uploads.owned(parts.database, [stored.owner for stored in gone])
    missing = [stored.owner for stored in gone if stored.owner in again and not await listed(parts.objects, stored.key)]
    await store_uploads.unown(parts.database, missing)


async def _still_old(parts: Parts, stored: Stored) -> bool:
    """An upload since the listing has made the object a new one."""
    return bool(old(await listed(parts.objects, stored.key), now(), parts.config.orphan_age_s))


async def _delete(parts: Parts, kind: str, objects: Sequence[Stored]) -> None:
    if objects:
        await parts.objects.delete([stored.key for stored in objects])
        removed(kind, len(objects))
