"""Sharing: a shared prediction may be read by everybody, and keeps its data for as long as it is shared."""

from typing import Any, Final

from tidemill.runtime.db import Database
from tidemill.runtime.predictions.fences import IS_EXAMPLE
from tidemill.runtime.predictions.removal import defer

# The janitor may be about to remove the data of a prediction whose time is over this soon.
MARGIN_S: Final = 10
SHARE: Final = f"""
UPDATE prediction p SET shared_at = COALESCE(p.shared_at, clock_timestamp())
WHERE p.id = $1 AND p.deleted_at IS NULL AND NOT p.data_removed
    AND (p.shared_at IS NOT NULL OR p.source <> 'api' OR p.completed_at IS NULL
        OR p.completed_at + make_interval(secs => $2::float8) > clock_timestamp()
        OR {IS_EXAMPLE})
RETURNING p.id"""
UNSHARE: Final = "UPDATE prediction SET shared_at = NULL WHERE id = $1 AND shared_at IS NOT NULL"
REPLACE_INPUT: Final = "UPDATE prediction SET input = $2 WHERE id = $1 AND NOT data_removed"


async def share(database: Database, prediction: str, retention_s: float) -> bool:
    """Share a prediction. Return False if its data is gone, or will be within MARGIN_S.

    Callers: the gateway. `retention_s` counts from completion.
    Fence: the data is there; shared before, an example, open, or not due yet.
    Cost: one probe of the primary key and one of `example`.
    """
    return await database.value(SHARE, prediction, retention_s - MARGIN_S) is not None


async def unshare(database: Database, prediction: str) -> None:
    """End the sharing. The janitor is told, as its scan may have passed the prediction while it was shared.

    Callers: the gateway. Fence: none; repeating it changes nothing.
    Cost: one probe of the primary key; one row of `removal_due_later`.
    """
    async with database.transaction() as connection:
        await connection.execute(UNSHARE, prediction)
        await defer(connection, [prediction])


async def replace_input(connection: Any, prediction: str, text: str) -> None:
    """Replace the input by one that names copies of its files, which outlive the uploads.

    Callers: the gateway, for a prediction that is shared or becomes an example.
    Fence: the data is there. Cost: one probe of the primary key.
    """
    await connection.execute(REPLACE_INPUT, prediction, text)
