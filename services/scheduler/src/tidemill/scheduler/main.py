"""The scheduler's composition root."""

from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database
from tidemill.runtime.leader import Leader
from tidemill.runtime.migrate import migrate
from tidemill.runtime.readiness import watch_database
from tidemill.runtime.service import Service, main
from tidemill.runtime.service_endpoints import publish_endpoints
from tidemill.runtime.shared_settings import check_shared_settings
from tidemill.scheduler import triggers
from tidemill.scheduler.config import Config
from tidemill.scheduler.deployment_policies import DeploymentPolicies
from tidemill.scheduler.handlers.deployments import poll_deployments
from tidemill.scheduler.handlers.planner import Planner
from tidemill.scheduler.handlers.sweeper import Sweeper

NAME = "scheduler"


async def build(config: Config) -> Service:
    service = Service(NAME, config)
    database = Database(config.database_url)
    bus = Bus(config.nats_url, NAME, retention_s=config.retention_s, events_bytes=config.events_bytes)
    leader = Leader(config.database_url, NAME)
    policies = DeploymentPolicies()
    sweeper = Sweeper(config, database, bus, leader, policies)
    planner = Planner(config, bus, leader, sweeper, policies)
    sweeper.quiet_s, sweeper.warm = planner.fleet.quiet_s, planner.warm

    async def listen() -> None:
        for call in triggers.on_reconnected(planner, sweeper):
            bus.on_reconnected(call)
        for listener in triggers.listeners(planner, sweeper):
            wire = bus.serve if listener.answers else bus.listen
            await wire(listener.subject, listener.kind, listener.handle)

    service.resource("database", database)
    service.start("migrations", lambda: migrate(database))
    service.start("settings", lambda: check_shared_settings(database, "scheduler", config))
    service.resource("bus", bus)
    service.resource("leader", leader)
    service.start("listeners", listen)
    publish_endpoints(service, database)
    watch_database(service)
    for name, task in triggers.timers(leader, planner, sweeper, lambda: poll_deployments(database, policies)):
        service.task(name, task)
    service.ready_when("bus", bus.not_ready)
    return service


def cli() -> None:
    main(NAME, Config, build)
