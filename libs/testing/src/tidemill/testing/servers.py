"""The real servers for tests, and configs that name them.

At the end nothing of them runs, and nothing lies outside their directories.
"""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, TypeVar

from tidemill.runtime.config import Common
from tidemill.runtime.db import Database
from tidemill.runtime.migrate import migrate
from tidemill.stack import Durability, NatsServer, ObjectServer, PostgresServer

UNSYNCED: Final = Durability(fsync=False)  # what tests store need not outlive the machine
SIGNING_KEY: Final = "5a" * 32
Config = TypeVar("Config", bound=Common)
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


def configured(
    kind: type[Config],
    postgres: PostgresServer | None = None,
    nats: NatsServer | None = None,
    objects: ObjectServer | None = None,
    **changes: Any,
) -> Config:
    """Of a service that is to use these servers, all of them that its kind of config asks for."""
    values: dict[str, Any] = {"database_url": postgres.url if postgres else "", "nats_url": nats.url if nats else ""}
    if objects:
        values |= {"s3_url": objects.url, "s3_access_key": objects.access_key, "s3_secret_key": objects.secret_key}
    if "signing_key" in kind.__struct_fields__:
        values["signing_key"] = SIGNING_KEY
    # Tests change settings of one service at a time.
    return kind(**{"adopt_settings": True, **values, **changes})


async def discard(server: NatsServer | PostgresServer | ObjectServer) -> None:
    await server.kill()
    if isinstance(server, PostgresServer):
        await server.remove()
