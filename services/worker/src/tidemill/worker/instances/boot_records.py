"""Writes what became of boots, for the owners of models: logs of set-ups above all. To lose a record is no harm."""

from typing import Final

from tidemill.hosting.failures import Ending
from tidemill.runtime.clock import at, monotonic, now
from tidemill.runtime.db import AWAY, Database
from tidemill.runtime.telemetry import log
from tidemill.worker.runs.instance import Instance

KEPT: Final = 20  # of one version; people look at the last ones
WRITE: Final = f"""
WITH written AS (
    INSERT INTO boot (instance, version_queue, began_at, ready_at, error, phases, logs)
    SELECT $1, q.version_queue, $3, $4, $5, $6::text::json, $7 FROM queue_version q WHERE q.queue = $2
    ON CONFLICT (instance) DO NOTHING RETURNING version_queue)
DELETE FROM boot b USING written w WHERE b.version_queue = w.version_queue AND b.instance <> ALL (ARRAY(
    SELECT k.instance FROM boot k WHERE k.version_queue = w.version_queue
    ORDER BY k.began_at DESC LIMIT {KEPT - 1}))"""  # noqa: S608 - our own constant
ENDED: Final = "UPDATE boot SET error = $2 WHERE instance = $1"


class BootRecords:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def booted(self, instance: Instance, logs: str) -> None:
        """It is ready, or has failed with its error. `logs` is what it printed until then."""
        began_at = now() - (monotonic() - instance.born)
        ready_at = None if instance.state == "failed" else at(now())
        said = (instance.error, instance.boot, logs)
        error, phases, printed = (
            None if text is None else text.replace("\0", "\N{REPLACEMENT CHARACTER}") for text in said
        )
        await self._write(WRITE, instance.id, instance.queue, at(began_at), ready_at, error, phases, printed)

    async def crashed(self, instance: Instance, ending: Ending) -> None:
        await self._write(ENDED, instance.id, _text(ending.error))

    async def _write(self, statement: str, *values: object) -> None:
        try:
            await self._database.execute(statement, *values)
        except AWAY as error:
            log().warning("not recorded", action="boot", error=str(error))


def _text(said: str | None) -> str | None:
    """PostgreSQL's text holds no NUL."""
    return None if said is None else said.replace("\0", "\N{REPLACEMENT CHARACTER}")
