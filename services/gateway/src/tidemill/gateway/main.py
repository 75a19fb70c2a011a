"""The gateway's composition root."""

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from tidemill.contracts import subjects
from tidemill.contracts.events import Lifecycle, Warm
from tidemill.contracts.ids import new_id
from tidemill.gateway.accept import Acceptor
from tidemill.gateway.auth import Accounts
from tidemill.gateway.config import Config
from tidemill.gateway.idempotency import Once
from tidemill.gateway.parts import Parts
from tidemill.gateway.triggers import application
from tidemill.gateway.versions import Versions
from tidemill.gateway.waiting import Waiters
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database
from tidemill.runtime.migrate import migrate
from tidemill.runtime.objects import Objects
from tidemill.runtime.service import Service, listen, main


async def build(config: Config) -> Service:
    service = Service("gateway", config)
    gateway = new_id()
    database = Database(config.database_url, pool_size=8)
    bus = Bus(config.nats_url, "gateway", retention_s=config.retention_s)
    objects = Objects(config)
    waiters = Waiters(database, config.wait_poll_s)
    acceptor = Acceptor(database.lane(), bus, gateway, config.accept_timeout_s)
    once = Once(database, database.lane(), acceptor, config.accept_timeout_s)
    parts = Parts(
        config=config,
        gateway=gateway,
        database=database,
        ending=database.lane(),
        bus=bus,
        objects=objects,
        accounts=Accounts(database, config.token_cache_s),
        versions=Versions(database, config.version_cache_s),
        acceptor=acceptor,
        once=once,
        waiters=waiters,
    )

    async def listen_to_bus() -> None:
        await bus.listen(subjects.gateway_events(gateway), Lifecycle, waiters.on_completed)
        await bus.listen(subjects.QUEUES_WARM, Warm, acceptor.on_warm)

    service.resource("database", database)
    service.start("migrations", lambda: migrate(database))
    service.resource("bus", bus)
    service.resource("objects", objects)
    service.start("listeners", listen_to_bus)
    service.resource("http", _http(parts))
    service.task("waiting requests", waiters.poll)
    service.task("token uses", parts.accounts.uses.run)
    service.drain("accepted predictions", acceptor.drained)
    service.drain("token uses", parts.accounts.uses.flush)
    service.drain("predictions accepted once", once.drained)
    return service


@contextlib.asynccontextmanager
async def _http(parts: Parts) -> AsyncIterator[None]:
    config = parts.config
    runner = web.AppRunner(
        application(parts),
        access_log=None,
        auto_decompress=False,
        shutdown_timeout=config.drain_s,
        keepalive_timeout=75,
    )
    await runner.setup()
    await listen(runner, config.host, config.port, "TIDEMILL_PORT")
    try:
        yield
    finally:
        await runner.cleanup()


def cli() -> None:
    main("gateway", Config, build)
