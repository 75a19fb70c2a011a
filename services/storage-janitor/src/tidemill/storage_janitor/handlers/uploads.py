"""Removes expired files, and fails pushes whose files never came."""

from tidemill.storage_janitor import store, store_uploads
from tidemill.storage_janitor.step_context import StepContext, record_removed


async def expired_files(context: StepContext) -> None:
    """Delete the object before the row: after a crash in between the row is found again, and is hidden from users."""
    while context.leader.held:
        batch = await store_uploads.expired(context.database)
        if batch:
            await context.objects.delete([file.key for file in batch])
            await store_uploads.delete_files(context.database, [file.id for file in batch])
            record_removed("file", len(batch))
        if len(batch) < store_uploads.BATCH:
            return


async def abandoned_pushes(context: StepContext) -> None:
    created_before = await store.now(context.database) - context.config.uploading_limit_s
    record_removed("push", await store_uploads.fail_abandoned(context.database, created_before))
