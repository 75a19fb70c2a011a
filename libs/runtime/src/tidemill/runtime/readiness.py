"""Readiness: whether the database accepts a new client now.

Connections that are open may keep working while the server refuses new ones (a smart shutdown, no connections left),
so the probe opens one of its own.
"""

import asyncio
from typing import Final

import asyncpg

from tidemill.runtime.db import TRANSIENT_ERRORS
from tidemill.runtime.service import Service
from tidemill.runtime.telemetry import log

LOOK_EVERY_S: Final = 15.0  # a connection costs the server some milliseconds
LOOK_AGAIN_S: Final = 2.0  # while it is away
CONNECT_WITHIN_S: Final = 5.0
SETTINGS: Final = {"application_name": "tidemill-ready"}


class DatabaseProbe:
    def __init__(self, url: str) -> None:
        self._url = url
        self._fault: str | None = None

    def not_ready(self) -> str | None:
        return self._fault

    async def look(self) -> None:
        """Connect, run a statement and disconnect."""
        try:
            connection = await asyncpg.connect(self._url, timeout=CONNECT_WITHIN_S, server_settings=SETTINGS)
            try:
                await connection.fetchval("SELECT 1", timeout=CONNECT_WITHIN_S)
                await connection.close(timeout=CONNECT_WITHIN_S)
            finally:
                connection.terminate()
        except (*TRANSIENT_ERRORS, asyncpg.PostgresError) as error:
            reason = f"PostgreSQL serves no new client: {str(error) or type(error).__name__}"
            if self._fault is None:
                log().warning("not ready", action="ready", reason=reason)
            self._fault = reason
        else:
            self._fault = None

    async def watch(self) -> None:
        """Probe periodically. Run as a named task."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S if self._fault is None else LOOK_AGAIN_S)


def watch_database(service: Service) -> None:
    """Make the service ready only while its database accepts new clients."""
    probe = DatabaseProbe(service.config.database_url)
    service.task("database probe", probe.watch)
    service.ready_when("database", probe.not_ready)
