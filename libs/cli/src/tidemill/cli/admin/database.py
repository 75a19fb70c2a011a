"""The connection of operators' commands to the database at TIDEMILL_DATABASE_URL."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from tidemill.cli.errors import CommandError

CONNECT_LIMIT_S = 10.0  # a running database answers at once
if TYPE_CHECKING:
    import asyncpg

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = "asyncpg.Connection"
ResultT = TypeVar("ResultT")


def run_on_database(work: Callable[[Connection], Awaitable[ResultT]]) -> ResultT:
    """Call `work` with a connection and return its result. Raise CommandError if the database cannot be reached."""
    url = os.environ.get("TIDEMILL_DATABASE_URL")
    if not url:
        raise CommandError("TIDEMILL_DATABASE_URL is not set; `. .tidemill/env` sets it for the local stack")
    # Imported here: modules with commands for users import this one, and those need no database.
    import asyncpg  # noqa: PLC0415

    async def go() -> ResultT:
        try:
            connection = await asyncpg.connect(url, timeout=CONNECT_LIMIT_S)
        except (OSError, TimeoutError, ValueError, asyncpg.PostgresError) as error:  # ValueError: the URL is malformed
            raise CommandError(f"cannot reach the database: {error}") from None
        try:
            return await work(connection)
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
            raise CommandError("the database has no tables yet, or old ones: start a service once") from None
        finally:
            await connection.close()

    return asyncio.run(go())
