"""Removes objects without a row and blobs without a reference, once they are too old to be an upload in progress.

It lists the object store, so an object whose row was deleted before a crash is found the next time.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from tidemill.runtime.clock import now
from tidemill.storage_janitor import store, store_uploads
from tidemill.storage_janitor.step_context import StepContext, list_objects, record_removed
from tidemill.storage_janitor.stored_objects import BLOBS, OUTPUTS, UPLOADS, StoredObject, batches, older_than

BATCH: Final = 1000  # keys per deletion: S3's limit
BLOB_BATCH: Final = 50  # keeps the time between checking for owners and deleting the bytes short


async def outputs(context: StepContext) -> None:
    """Delete files of predictions without a row, and files that came after their prediction's data was removed."""
    for batch in batches(await list_objects(context.objects, OUTPUTS), BATCH):
        if not context.leader.held:
            return
        removed = await store.data_removed(context.database, [stored.owner for stored in batch])
        late = [stored for stored in batch if removed.get(stored.owner)]
        lost = older_than(
            (stored for stored in batch if stored.owner not in removed), now(), context.config.orphan_age_s
        )
        await _delete(context, "output_file", [*late, *lost])


async def uploads(context: StepContext) -> None:
    for prefix in UPLOADS:
        found = older_than(await list_objects(context.objects, prefix), now(), context.config.orphan_age_s)
        for batch in batches(found, BATCH):
            if not context.leader.held:
                return
            in_use = await store_uploads.keys_in_use(context.database, [stored.key for stored in batch])
            await _delete(context, "upload", [stored for stored in batch if stored.key not in in_use])


async def parts_of_objects(context: StepContext) -> None:
    """Delete parts of multipart uploads that were never completed."""
    before = datetime.fromtimestamp(now() - context.config.orphan_age_s, UTC)
    record_removed("unfinished_object", await context.objects.abandon_parts(before))


async def blob_rows(context: StepContext) -> None:
    """Delete rows of unreferenced blobs before their bytes: from then on a push is told to upload them."""
    created_before = await store.now(context.database) - context.config.orphan_age_s
    found = await store_uploads.unreferenced_blobs(context.database, created_before)
    if found.digests:
        record_removed("blob_row", await store_uploads.delete_blobs(context.database, found, created_before))


async def blob_objects(context: StepContext) -> None:
    """Delete bytes that no account owns any more."""
    found = older_than(await list_objects(context.objects, BLOBS), now(), context.config.orphan_age_s)
    for batch in batches(found, BLOB_BATCH):
        if not context.leader.held:
            return
        owned = await store_uploads.owned(context.database, [stored.owner for stored in batch])
        unowned = [stored for stored in batch if stored.owner not in owned]
        if unowned:
            await _delete_blobs(context, unowned)


async def _delete_blobs(context: StepContext, unowned: Sequence[StoredObject]) -> None:
    digests = [stored.owner for stored in unowned]
    kept = await store_uploads.owned_or_referenced(context.database, digests)
    gone = [stored for stored in unowned if stored.owner not in kept and await _is_still_old(context, stored)]
    await _delete(context, "blob", gone)
    # An upload may have ended between the last check and the deletion: its row must not promise deleted bytes.
    again = await store_uploads.owned(context.database, [stored.owner for stored in gone])
    missing = [
        stored.owner for stored in gone if stored.owner in again and not await list_objects(context.objects, stored.key)
    ]
    await store_uploads.delete_blob_rows(context.database, missing)


async def _is_still_old(context: StepContext, stored: StoredObject) -> bool:
    """Return whether the object is still old; an upload after the listing replaces it."""
    return bool(older_than(await list_objects(context.objects, stored.key), now(), context.config.orphan_age_s))


async def _delete(context: StepContext, kind: str, objects: Sequence[StoredObject]) -> None:
    if objects:
        await context.objects.delete([stored.key for stored in objects])
        record_removed(kind, len(objects))
