"""PostgreSQL: a pool for ordinary statements, and dedicated connections for those of hot paths.

A dedicated connection keeps its prepared statements and reconnects by itself. Nothing here knows a table.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, Self, TypeVar

import asyncpg

from tidemill.runtime.service import StartError
from tidemill.runtime.telemetry import log

Row = asyncpg.Record
ResultT = TypeVar("ResultT")

# Raised while the database cannot be reached or restarts: wait and retry, nothing is lost.
TRANSIENT_ERRORS: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # A connection that broke during a statement ("cannot switch to state"), or whose plans a migration made stale.
    asyncpg.InternalClientError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.InsufficientResourcesError,  # memory, disk or connections
    asyncpg.ReadOnlySQLTransactionError,  # a standby, until it is promoted or the primary is back
)
STATEMENT_TIMEOUT_S: Final = 5.0  # the sweep relies on it: a row is visible within this time after its accepted_at
BACKOFF_FIRST_S: Final = 0.05
BACKOFF_LIMIT_S: Final = 2.0  # outages are mostly short, and services that retry at this rate do no harm

# For a join of a new table with unnest() PostgreSQL makes custom plans, which are bad ones and cost more than the
# execution. A generic plan, though, may date from when the table was small; so every hot statement also says
# `id = ANY (…)`, which rules out a sequential scan. The planner takes both sides of such a join for ten rows and would
# choose a nested loop: with 256 ends in one statement each took 310 µs, with a hash join 45 (64 ends: 125 and 57).
HOT_SETTINGS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_mergejoin": "off",
    "enable_nestloop": "off",
    "enable_bitmapscan": "off",
    "jit": "off",
}


def backoffs() -> Any:
    """Yield waiting times in seconds without end: doubling, with jitter, up to BACKOFF_LIMIT_S."""
    wait = BACKOFF_FIRST_S
    while True:
        yield wait * random.uniform(0.5, 1.0)
        wait = min(wait * 2, BACKOFF_LIMIT_S)


async def retry_transient(
    what: str, call: Callable[[], Awaitable[ResultT]], *, give_up_s: float | None = None
) -> ResultT:
    """Retry `call` while it fails with one of TRANSIENT_ERRORS. `what` names it in the log.

    Retry without limit, or for `give_up_s` seconds, and then raise the last error.
    """
    started = asyncio.get_running_loop().time()
    for wait in backoffs():
        try:
            return await call()
        except TRANSIENT_ERRORS as error:
            waited = asyncio.get_running_loop().time() - started
            if give_up_s is not None and waited + wait > give_up_s:
                raise
            log().warning("database away", action="retry", what=what, error=str(error), waited_s=round(waited, 2))
            await asyncio.sleep(wait)
    raise AssertionError("backoffs never ends")


class DedicatedConnection:
    """A connection of its own for the statements of one hot path, which run one at a time.

    A statement, or connecting, that takes longer than `timeout_s` raises TimeoutError and drops the connection.
    """

    def __init__(
        self, url: str, *, settings: dict[str, str] | None = None, timeout_s: float = STATEMENT_TIMEOUT_S
    ) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._settings = {"application_name": "tidemill", **(HOT_SETTINGS if settings is None else settings)}
        self._connection: asyncpg.Connection[Row] | None = None
        self._statements: dict[str, asyncpg.prepared_stmt.PreparedStatement[Row]] = {}
        self._lock = asyncio.Lock()

    async def fetch(self, sql: str, *args: object) -> list[Row]:
        """Return the rows of a statement, which is prepared at its first use. Raise one of TRANSIENT_ERRORS."""
        async with self._lock:
            try:
                statement = self._statements.get(sql) or await self._prepare(sql)
                return await statement.fetch(*args, timeout=self._timeout_s)
            except TRANSIENT_ERRORS:
                await self._drop()
                raise

    async def _prepare(self, sql: str) -> "asyncpg.prepared_stmt.PreparedStatement[Row]":
        if self._connection is None or self._connection.is_closed():
            self._statements.clear()
            self._connection = await asyncpg.connect(self._url, server_settings=self._settings, timeout=self._timeout_s)
        statement = await self._connection.prepare(sql, timeout=self._timeout_s)
        self._statements[sql] = statement
        return statement

    async def _drop(self) -> None:
        self._statements.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        async with self._lock:
            await self._drop()


class Database:
    """The pool, and the dedicated connections. Use as an async context manager."""

    def __init__(self, url: str, *, pool_size: int = 4) -> None:
        self._url = url
        self._pool_size = pool_size
        self._pool: asyncpg.Pool[Row] | None = None
        self._dedicated: list[DedicatedConnection] = []

    async def __aenter__(self) -> Self:
        async def connect() -> "asyncpg.Pool[Row]":
            pool = asyncpg.create_pool(
                self._url,
                min_size=1,
                max_size=self._pool_size,
                command_timeout=30,
                server_settings={"application_name": "tidemill"},
            )
            try:
                return await pool
            except ValueError as error:  # asyncpg's InterfaceError is one too, but waiting mends no URL
                raise StartError(f"TIDEMILL_DATABASE_URL cannot be read: {error}") from None

        self._pool = await retry_transient("connect", connect)
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._dedicated:
            await connection.close()
        if self._pool is not None:
            self._pool.terminate()

    @property
    def pool(self) -> "asyncpg.Pool[Row]":
        assert self._pool is not None, "the database is used before it was entered"
        return self._pool

    def dedicated_connection(
        self, *, settings: dict[str, str] | None = None, timeout_s: float = STATEMENT_TIMEOUT_S
    ) -> DedicatedConnection:
        """Return a new connection with HOT_SETTINGS, or with `settings` instead. It is closed with the database."""
        connection = DedicatedConnection(self._url, settings=settings, timeout_s=timeout_s)
        self._dedicated.append(connection)
        return connection

    async def fetch(self, sql: str, *args: object) -> list[Row]:
        return await self.pool.fetch(sql, *args)

    async def row(self, sql: str, *args: object) -> Row | None:
        return await self.pool.fetchrow(sql, *args)

    async def value(self, sql: str, *args: object) -> Any:
        return await self.pool.fetchval(sql, *args)

    async def execute(self, sql: str, *args: object) -> None:
        await self.pool.execute(sql, *args)

    @contextlib.asynccontextmanager
    async def transaction(self) -> "AsyncIterator[asyncpg.pool.PoolConnectionProxy[Row]]":
        async with self.pool.acquire() as connection, connection.transaction():
            yield connection


def columns(rows: Sequence[Sequence[object]], width: int) -> list[list[object]]:
    """Return rows as the columns that unnest() takes. `width` is their number, needed when there are no rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
