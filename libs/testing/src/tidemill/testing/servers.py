"""The real servers for tests. At the end nothing of them runs, and nothing lies outside their directories."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, TypeVar

from tidemill.runtime.db import Database
from tidemill.runtime.migrate import migrate
from tidemill.stack import Durability, NatsServer, ObjectServer, PostgresServer

UNSYNCED: Final = Durability(fsync=False)  # what tests store need not outlive the machine
Server = TypeVar("Server", NatsServer, PostgresServer, ObjectServer)


@contextlib.asynccontextmanager
async def started(server: Server) -> AsyncIterator[Server]:
    try:
        await server.start()
        yield server
    finally:
        await discard(server)


@contextlib.asynccontextmanager
async def migrated(directory: Path, durability: Durability = UNSYNCED) -> AsyncIterator[PostgresServer]:
    """PostgreSQL with the tables of the services, all of them empty."""
    async with started(PostgresServer(directory, durability=durability)) as server:
        async with Database(server.url) as database:
            await migrate(database)
        yield server


async def discard(server: NatsServer | PostgresServer | ObjectServer) -> None:
    await server.kill()
    if isinstance(server, PostgresServer):
        await server.remove()
