"""The webhook dispatcher's composition root."""

import contextlib
from collections.abc import AsyncIterator

from tidemill.contracts import subjects
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database
from tidemill.runtime.leader import Leader
from tidemill.runtime.migrate import migrate
from tidemill.runtime.platform import Platform
from tidemill.runtime.readiness import watch_database
from tidemill.runtime.service import Service, main, parse_setting
from tidemill.runtime.service_endpoints import publish_endpoints
from tidemill.runtime.shared_settings import check_shared_settings
from tidemill.security.egress.client import EgressClient
from tidemill.security.egress.policy import AllowList, EgressPolicy
from tidemill.webhook_dispatcher import triggers
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.handlers.deliveries import DeliveryLoop
from tidemill.webhook_dispatcher.handlers.delivery_tries import DeliveryTries
from tidemill.webhook_dispatcher.handlers.progress import ProgressSender
from tidemill.webhook_dispatcher.handlers.purging import Purger
from tidemill.webhook_dispatcher.sender import Sender

NAME = "webhook-dispatcher"


async def build(config: Config) -> Service:
    service = Service(NAME, config)
    database = Database(config.database_url, pool_size=8)
    bus = Bus(config.nats_url, NAME, retention_s=config.retention_s, events_bytes=config.events_bytes)
    allow = parse_setting("TIDEMILL_EGRESS_ALLOW", AllowList.parse, config.egress_allow)
    servers = (config.database_url, config.nats_url, config.s3_url)
    platform = Platform.of(servers, config.public_urls, database)
    egress = EgressClient(EgressPolicy(allow=allow, reserved=platform.reserved, allow_http=True))
    sender = Sender(config, egress)
    leader = Leader(config.database_url, NAME)
    progress = ProgressSender(config, database, bus, sender, leader)
    deliveries = DeliveryLoop(config, database, DeliveryTries(config, database, sender, progress))
    purger = Purger(config, database, leader)

    async def listen() -> None:
        for listener in triggers.listeners(deliveries, progress):
            await bus.listen(listener.subject, listener.kind, listener.handle)
        await bus.listen_raw(subjects.PROGRESS_STATE, progress.on_state_request)

    @contextlib.asynccontextmanager
    async def sending() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await deliveries.stop()
            await progress.stop()
            await egress.close()

    service.resource("database", database)
    service.start("migrations", lambda: migrate(database))
    service.start("settings", lambda: check_shared_settings(database, "webhook-dispatcher", config))
    service.resource("bus", bus)
    service.resource("leader", leader)
    service.start("platform", platform.look_up)
    service.resource("sending", sending())
    service.start("listeners", listen)
    publish_endpoints(service, database)
    watch_database(service)
    service.task("platform", platform.follow)
    for name, task in triggers.timers(deliveries, purger, leader):
        service.task(name, task)
    service.drain("deliveries", deliveries.drain)
    service.ready_when("bus", bus.not_ready)
    return service


def cli() -> None:
    main(NAME, Config, build)
