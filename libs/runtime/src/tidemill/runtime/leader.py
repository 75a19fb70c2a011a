"""Leader election: of several processes, the one whose database session holds an advisory lock does the job.

The lock ends with its session: at once when the process dies, and after IDLE_LIMIT_S when the process is paused or its
network fails, since the server then receives nothing. The leader trusts its lock for a shorter time than that.
"""

import asyncio
import contextlib
import zlib
from typing import Final, Self

import asyncpg

from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import TRANSIENT_ERRORS, Row
from tidemill.runtime.telemetry import log

IDLE_LIMIT_S: Final = 4.0  # the server ends a session that is idle for longer, and a standby takes over
TRUST_S: Final = 3.0  # counted from before the last confirmation was sent, so it always ends before the session does
CONFIRM_S: Final = 1.0  # two confirmations may fail before the trust ends
RETRY_S: Final = 0.3  # between two attempts of a standby: a takeover after a crash takes no longer
CALL_TIMEOUT_S: Final = 1.0
CONNECT_TIMEOUT_S: Final = 5

SETTINGS: Final = {
    "application_name": "tidemill-leader",
    "idle_session_timeout": f"{int(IDLE_LIMIT_S * 1000)}",
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "2",
}


class Leader:
    """Use as an async context manager, and run `keep` as a task. `held` may be read at any time and costs nothing."""

    def __init__(self, url: str, job: str) -> None:
        self._url = url
        self._job = job
        self._key = zlib.crc32(job.encode())  # an advisory lock is a number; an installation has few jobs
        self._connection: asyncpg.Connection[Row] | None = None
        self._locked = False
        self._trusted_until = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._resign()

    @property
    def held(self) -> bool:
        # A session that the server ended is seen at once; a broken network only by the time.
        alive = self._connection is not None and not self._connection.is_closed()
        return alive and monotonic() < self._trusted_until

    async def keep(self) -> None:
        """Take the lock when it is free, and confirm it, until canceled."""
        while True:
            try:
                await self._round()
            except (
                *TRANSIENT_ERRORS,
                asyncpg.PostgresError,
            ) as error:  # also raised when the server ended an idle session
                log().warning("leadership unknown", action="retry", job=self._job, error=str(error))
                self._resign()
            await asyncio.sleep(CONFIRM_S if self.held else RETRY_S)

    async def _round(self) -> None:
        asked_at = monotonic()
        connection = await self._session()
        if self._locked:
            await connection.fetchval("SELECT 1")  # a session that still answers still has its lock
        else:
            self._locked = bool(await connection.fetchval("SELECT pg_try_advisory_lock($1::bigint)", self._key))
            if self._locked:
                log().info("leading", action="lead", job=self._job)
        if self._locked:
            self._trusted_until = asked_at + TRUST_S

    async def _session(self) -> "asyncpg.Connection[Row]":
        if self._connection is None or self._connection.is_closed():
            self._resign()  # the lock ended with the session, and another process may hold it now
            self._connection = await asyncpg.connect(
                self._url, server_settings=SETTINGS, timeout=CONNECT_TIMEOUT_S, command_timeout=CALL_TIMEOUT_S
            )
        return self._connection

    def _resign(self) -> None:
        self._trusted_until = 0.0
        self._locked = False
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*TRANSIENT_ERRORS):
                connection.terminate()
