"""The gateway's composition root."""

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from tidemill.contracts import subjects
from tidemill.contracts.events import Lifecycle, Load, Warm
from tidemill.contracts.ids import new_id
from tidemill.gateway.access.auth import Accounts
from tidemill.gateway.access.client_address import networks
from tidemill.gateway.access.door import Door, tokenless_rates
from tidemill.gateway.config import Config
from tidemill.gateway.events.callout import Callout
from tidemill.gateway.events.durable import Durables
from tidemill.gateway.events.watch import Watch
from tidemill.gateway.limits import allowances
from tidemill.gateway.limits.admission import Admission, Crowd
from tidemill.gateway.limits.rates import Limits
from tidemill.gateway.parts import Parts
from tidemill.gateway.predictions.accept import Acceptor
from tidemill.gateway.predictions.once import Once
from tidemill.gateway.predictions.versions import Versions
from tidemill.gateway.predictions.waiting import Waiters
from tidemill.gateway.predictions.waiting_room import WaitingRoom
from tidemill.gateway.releases.deployments import Deployments
from tidemill.gateway.triggers import application
from tidemill.runtime.billing import Tariffs, prices
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database
from tidemill.runtime.migrate import migrate
from tidemill.runtime.objects import Objects
from tidemill.runtime.service import Service, listen, main, setting


async def build(config: Config) -> Service:
    service = Service("gateway", config)
    gateway = new_id()
    database = Database(config.database_url, pool_size=8)
    bus = Bus(config.nats_url, "gateway", retention_s=config.retention_s)
    objects = Objects(config)
    durables = Durables(bus)
    waiters = Waiters(database, config.wait_poll_s)
    waiting_room = WaitingRoom(database, bus)
    acceptor = Acceptor(database.lane(), bus, gateway, config.accept_timeout_s)
    once = Once(database, database.lane(), acceptor, config.accept_timeout_s)
    versions = Versions(database, config.version_cache_s)
    proxies = setting("TIDEMILL_TRUSTED_PROXIES", networks, config.trusted_proxies)
    accounts = Accounts(database, config.token_cache_s, allowances.default(config))
    limits = Limits(database.lane())
    admission = Admission(Crowd(config.queue_age_limit_s, config.queue_waiting_limit))
    parts = Parts(
        config=config,
        gateway=gateway,
        database=database,
        ending=database.lane(),
        bus=bus,
        durables=durables,
        objects=objects,
        accounts=accounts,
        door=Door(accounts, proxies, tokenless_rates(config)),
        limits=limits,
        admission=admission,
        versions=versions,
        deployments=Deployments(database, versions, config.version_cache_s, acceptor.is_warm),
        acceptor=acceptor,
        once=once,
        waiters=waiters,
        waiting_room=waiting_room,
        tariffs=Tariffs(database, setting("TIDEMILL_PRICES", prices, config.prices)),
    )

    def ended(event: Lifecycle) -> None:
        admission.ended(event.id)
        waiters.on_completed(event)

    async def listen_to_bus() -> None:
        await bus.listen_directly(subjects.gateway_events(gateway), Lifecycle, ended)
        await bus.listen(subjects.LOAD, Load, admission.on_load)
        await bus.listen(subjects.QUEUES_WARM, Warm, acceptor.on_warm)
        await bus.listen(subjects.QUEUES_WARM, Warm, waiting_room.on_warm)

    service.resource("database", database)
    service.start("migrations", lambda: migrate(database))
    service.resource("bus", bus)
    service.resource("objects", objects)
    service.start("listeners", listen_to_bus)
    service.resource("http", _http(parts))
    if config.nats_callout_seed:
        callout = Callout(config.nats_callout_seed, bus, database, accounts, durables)
        service.start("callout", callout.listen)
        service.task("callout", callout.run)
        service.task("event watch", Watch(bus, database, config.event_check_s).run)
    service.task("waiting requests", waiters.poll)
    service.task("limits", limits.run)
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
