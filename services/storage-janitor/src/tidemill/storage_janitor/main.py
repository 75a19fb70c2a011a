"""The storage janitor's composition root."""

from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database
from tidemill.runtime.leader import Leader
from tidemill.runtime.migrate import migrate
from tidemill.runtime.objects.store import Objects
from tidemill.runtime.readiness import watch_database
from tidemill.runtime.service import Service, main
from tidemill.runtime.service_endpoints import publish_endpoints
from tidemill.runtime.shared_settings import check_shared_settings
from tidemill.storage_janitor import triggers
from tidemill.storage_janitor.config import Config
from tidemill.storage_janitor.step_context import StepContext

NAME = "storage-janitor"


async def build(config: Config) -> Service:
    service = Service(NAME, config)
    database = Database(config.database_url)
    objects = Objects(config)
    leader = Leader(config.database_url, NAME)
    bus = Bus(config.nats_url, NAME, retention_s=config.retention_s, events_bytes=config.events_bytes)
    service.resource("database", database)
    service.start("migrations", lambda: migrate(database))
    service.start("settings", lambda: check_shared_settings(database, "storage-janitor", config))
    service.resource("objects", objects)
    service.resource("bus", bus)
    service.resource("leader", leader)
    publish_endpoints(service, database)
    watch_database(service)
    for name, task in triggers.timers(StepContext(config, database, objects, leader, bus)):
        service.task(name, task)
    return service


def cli() -> None:
    main(NAME, Config, build)
