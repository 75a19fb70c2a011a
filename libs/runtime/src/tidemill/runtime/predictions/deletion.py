"""Deletion: a prediction disappears with its data. The row stays, invisible, so that what was used can be counted."""

from typing import Final

from tidemill.runtime.db import Database
from tidemill.runtime.deliveries.removal import abandon
from tidemill.runtime.predictions.fences import HAS_ENDED, IS_EXAMPLE
from tidemill.runtime.predictions.removal import defer

DELETE: Final = f"""
UPDATE prediction p SET deleted_at = clock_timestamp(), data_removed = true, input = '{{}}', output = NULL, logs = NULL,
    error = NULL, webhook = NULL, webhook_events = NULL, shared_at = NULL
WHERE p.id = $1 AND p.account_id = $2 AND p.deleted_at IS NULL AND {HAS_ENDED} AND NOT {IS_EXAMPLE}
RETURNING p.id"""


async def delete(database: Database, prediction: str, account: str) -> bool:
    """Delete the account's prediction. Return False if it is open or an example, or was deleted before.

    Its deliveries are abandoned. Files are removed by the caller, and by the janitor, which is told of the prediction.

    Callers: the gateway.
    Fence: the account; an ended status; no example.
    Cost: one probe of the primary key; its deliveries, by their index; one row of `removal_due_later`.
    """
    async with database.transaction() as connection:
        if await connection.fetchval(DELETE, prediction, account) is None:
            return False
        await abandon(connection, prediction)
        await defer(connection, [prediction])
    return True
