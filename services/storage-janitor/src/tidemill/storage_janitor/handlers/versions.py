"""What deleted versions leave behind. Their files go with the search for orphans, since nothing names them any more."""

from tidemill.runtime.predictions.removal import remove_of_version
from tidemill.storage_janitor import store_versions
from tidemill.storage_janitor.handlers.parts import Parts, removed
from tidemill.storage_janitor.handlers.predictions import keys_of
from tidemill.storage_janitor.store_versions import Removed


async def removed_versions(parts: Parts) -> None:
    """Deletes the predictions of each; its note goes when none is left, open ones have their turn when they end."""
    for version in await store_versions.removed(parts.database):
        if not parts.leader.held:
            return
        if await _emptied(parts, version) and version.settled:
            await store_versions.done(parts.database, version)


async def _emptied(parts: Parts, version: Removed) -> bool:
    """Whether all could be deleted."""
    after, all_ended = version.first, True
    while parts.leader.held:
        found = await store_versions.left(parts.database, version, after)
        if not found:
            return all_ended
        ended = [each.due for each in found if not each.open]
        keys = await keys_of(parts, [due.id for due in ended if due.files])
        if keys:
            await parts.objects.delete(keys)
            removed("output_file", len(keys))
        removed("prediction", await remove_of_version(parts.database, [due.id for due in ended]))
        all_ended = all_ended and len(ended) == len(found)
        after = found[-1].due.id
    return False
