"""Uploads past their time: files that have expired, and pushes whose files never came."""

from tidemill.storage_janitor import store, store_uploads
from tidemill.storage_janitor.handlers.parts import Parts, removed


async def expired_files(parts: Parts) -> None:
    """The object before the row: a crash in between leaves a row that is found again, and is hidden from users."""
    while parts.leader.held:
        batch = await store_uploads.expired(parts.database)
        if batch:
            await parts.objects.delete([file.key for file in batch])
            await store_uploads.delete_files(parts.database, [file.id for file in batch])
            removed("file", len(batch))
        if len(batch) < store_uploads.BATCH:
            return


async def abandoned_pushes(parts: Parts) -> None:
    created_before = await store.now(parts.database) - parts.config.uploading_limit_s
    removed("push", await store_uploads.abandon(parts.database, created_before))
