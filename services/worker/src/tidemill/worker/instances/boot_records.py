"""Records boots for the owners of models: above all what their set-ups printed. A lost record does no harm.

A long boot is recorded while it is under way, so that its log can be read meanwhile.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from tidemill.hosting.child.failures import ChildFailure
from tidemill.runtime.clock import at, monotonic, now
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log
from tidemill.worker.instances import boot_store
from tidemill.worker.instances.managed_instance import ManagedInstance
from tidemill.worker.runs.instance import Instance

SAVE_EVERY_S: Final = 1.0  # for boots under way; most end before the first time
STOPPED: Final = "It was stopped before it was ready."


class BootRecords:
    def __init__(self, database: Database, worker: str) -> None:
        self._database = database
        self._worker = worker
        self._written: dict[str, str] = {}  # logs of boots under way by instance, as the database has them

    async def record_boot(self, instance: Instance, logs: str) -> None:
        """Record the end of a boot: the instance is ready or has failed. `logs` is what it printed until then."""
        ready_at = None if instance.state == "failed" else at(now())
        said = (_text(each) for each in (instance.error, instance.boot, logs))
        await self._write(
            boot_store.WRITE, instance.id, instance.queue, self._worker, _began_at(instance), ready_at, *said
        )

    async def record_crash(self, instance: Instance, ending: ChildFailure) -> None:
        await self._write(boot_store.ENDED, instance.id, _text(ending.error))

    async def follow(self, booting: Callable[[], Iterable[ManagedInstance]]) -> None:
        """Named task: keeps the logs of long boots up to date."""
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            await self.save(booting())

    async def save(self, booting: Iterable[ManagedInstance]) -> None:
        """Save the logs of long boots. `booting` holds all boots of this worker."""
        under_way = {managed.instance.id: managed for managed in booting}
        for name in [name for name in self._written if name not in under_way]:
            del self._written[name]
            await self._write(boot_store.GIVEN_UP, name, STOPPED)  # its end was not written, or will overwrite this
        for name, managed in under_way.items():
            instance, printed = managed.instance, managed.boot_log
            old_enough = monotonic() - instance.born >= SAVE_EVERY_S
            if old_enough and self._written.get(name) != printed:
                values = (instance.queue, self._worker, _began_at(instance), _text(printed))
                if await self._write(boot_store.UNDER_WAY, name, *values):
                    self._written[name] = printed

    async def _write(self, statement: str, *values: object) -> bool:
        try:
            await self._database.execute(statement, *values)
        except TRANSIENT_ERRORS as error:
            log().warning("not recorded", action="boot", error=str(error))
            return False
        return True


def _began_at(instance: Instance) -> object:
    return at(now() - (monotonic() - instance.born))


def _text(said: str | None) -> str | None:
    """Replace NUL, which PostgreSQL's text cannot hold."""
    return None if said is None else said.replace("\0", "\N{REPLACEMENT CHARACTER}")
