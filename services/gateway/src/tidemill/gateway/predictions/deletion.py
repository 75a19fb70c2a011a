"""Deletes predictions: the row's data at once, then files and messages. The janitor removes files that are left."""

from typing import Protocol

from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database, Row
from tidemill.runtime.objects.store import Objects, ObjectStoreError
from tidemill.runtime.predictions import deletion
from tidemill.runtime.streams import removal
from tidemill.runtime.telemetry import log


class DeletionParts(Protocol):
    @property
    def database(self) -> Database: ...
    @property
    def bus(self) -> Bus: ...
    @property
    def objects(self) -> Objects: ...


async def delete(parts: DeletionParts, row: Row) -> bool:
    """Delete a prediction that has ended. Return False if it is an example, or was deleted meanwhile."""
    if not await deletion.delete(parts.database, row["id"], row["account_id"]):
        return False
    await _remove_files(parts.objects, row["id"])
    await _remove_messages(parts.bus, row)
    return True


async def _remove_files(objects: Objects, prediction_id: str) -> None:
    try:
        files = await objects.list(f"outputs/{prediction_id}/")
        if files:
            await objects.delete([file.object_name for file in files])
    except ObjectStoreError as error:
        log().warning("files left to the janitor", action="delete", prediction=prediction_id, error=str(error))


async def _remove_messages(bus: Bus, row: Row) -> None:
    moments = [moment for moment in (row["started_at"], row["completed_at"]) if moment is not None]
    try:
        await removal.remove_output(bus, row["id"])
        await removal.remove_events(bus, row["account_id"], row["kind"], row["id"], moments)
    except removal.FAILURES as error:
        log().warning("messages left to their age", action="delete", prediction=row["id"], error=str(error))
