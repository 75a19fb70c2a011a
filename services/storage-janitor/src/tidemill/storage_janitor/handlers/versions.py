"""Removes the predictions of deleted versions. The search for orphans finds the versions' own files."""

from tidemill.runtime.predictions.removal import remove_of_version
from tidemill.storage_janitor import store_versions
from tidemill.storage_janitor.handlers.predictions import output_keys
from tidemill.storage_janitor.step_context import StepContext, record_removed
from tidemill.storage_janitor.store_versions import RemovedVersion


async def removed_versions(context: StepContext) -> None:
    """Delete the predictions of each version. Forget the version when none is left; open ones wait until they end."""
    for version in await store_versions.removed_versions(context.database):
        if not context.leader.held:
            return
        if await _delete_predictions(context, version) and version.settled:
            await store_versions.finish(context.database, version)


async def _delete_predictions(context: StepContext, version: RemovedVersion) -> bool:
    """Delete the version's ended predictions. Return whether all had ended."""
    after, all_ended = version.first, True
    while context.leader.held:
        found = await store_versions.remaining(context.database, version, after)
        if not found:
            return all_ended
        ended = [each.due for each in found if not each.open]
        keys = await output_keys(context, [due.id for due in ended if due.files])
        if keys:
            await context.objects.delete(keys)
            record_removed("output_file", len(keys))
        record_removed("prediction", await remove_of_version(context.database, [due.id for due in ended]))
        all_ended = all_ended and len(ended) == len(found)
        after = found[-1].due.id
    return False
