"""Removes expired files, and fails pushes whose files never came."""

from tidemill.storage_janitor import store, store_uploads
from tidemill.storage_janitor.parts import Parts, record_removed


async def expired_files(parts: Parts) -> None:
    """Delete the object before the row: after a crash in between the row is found again, and is hidden from users."""
    while parts.leader.held:
        batch = await store_uploads.expired(parts.database)
        if batch:
            await parts.objects.delete([file.key for file in batch])
            await store_uploads.delete_files(parts.database, [file.id for file in batch])
            record_removed("file", len(batch))
        if len(batch) < store_uploads.BATCH:
            return


async def abandoned_pushes(parts: Parts) -> None:
    created_before = await store.now(parts.database) - parts.config.uploading_limit_s
    record_removed("push", await store_uploads.fail_abandoned(parts.database, created_before))
