"""The worker's lease: one row, renewed on the database's clock. A worker that was called lost must end."""

import asyncio
import socket

from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log
from tidemill.worker import store

RENEWALS_PER_LEASE = 5  # so that one slow write loses nothing
# With these, a renewal comes within some three seconds of the return of a database that was unreachable. A new leader
# waits five before it calls a worker lost.
RENEW_WITHIN_S = 1.5
RETRY_S = 1.0


class LeaseLost(Exception):  # noqa: N818 - named after the situation
    """The scheduler has given this worker's predictions away: the process must end."""


class Lease:
    """A lease is renewed even after it ran out. If the scheduler called the worker lost, the service ends, and is
    started again under a new id.
    """

    def __init__(self, database: Database, worker: str, lease_s: float) -> None:
        self._database = database
        self._connection = database.dedicated_connection(timeout_s=RENEW_WITHIN_S)
        self._worker = worker
        self._lease_s = lease_s

    async def register(self) -> None:
        await self._database.execute(store.REGISTER, self._worker, socket.gethostname(), self._lease_s)

    async def keep(self) -> None:
        """Named task: renews the lease. Raise LeaseLost when the scheduler has called the worker lost."""
        every_s = wait_s = self._lease_s / RENEWALS_PER_LEASE
        while True:
            await asyncio.sleep(wait_s)
            try:
                renewed = await self._connection.fetch(store.RENEW, self._worker, self._lease_s)
            except TRANSIENT_ERRORS as error:
                # While the database is unreachable, nobody can give the predictions away either.
                log().warning("cannot renew", action="lease", error=str(error))
                wait_s = min(every_s, RETRY_S)
                continue
            wait_s = every_s
            if not renewed:
                raise LeaseLost(f"the lease of worker {self._worker} ran out, and the scheduler called it lost")

    async def release(self) -> None:
        try:
            await self._database.execute(store.RELEASE, self._worker)
        except TRANSIENT_ERRORS:
            return  # it will run out
