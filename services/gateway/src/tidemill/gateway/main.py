"""The gateway's composition root."""

from tidemill.contracts import subjects
from tidemill.contracts.events import Lifecycle, LoadReport, SubscriberAdmitted, WarmQueues
from tidemill.gateway.access import connections
from tidemill.gateway.config import Config
from tidemill.gateway.events.auth_callout import AuthCallout
from tidemill.gateway.events.connection_monitor import ConnectionMonitor
from tidemill.gateway.parts import Parts, assemble
from tidemill.gateway.serving import HttpServer
from tidemill.gateway.triggers import application
from tidemill.runtime.migrate import migrate
from tidemill.runtime.readiness import watch_database
from tidemill.runtime.service import Service, Timer, main
from tidemill.runtime.service_endpoints import publish_endpoints
from tidemill.runtime.shared_settings import check_shared_settings


async def build(config: Config) -> Service:
    service = Service("gateway", config)
    parts = assemble(config)
    database, bus = parts.database, parts.bus
    service.resource("database", database)
    service.start("migrations", lambda: migrate(database))
    service.start("settings", lambda: check_shared_settings(database, "gateway", config))
    service.resource("bus", bus)
    service.resource("objects", parts.objects)
    service.start("listeners", lambda: listen_to_bus(parts))
    http = HttpServer(
        config,
        lambda: application(parts),
        parts.draining,
        parts.waiters,
        service.listens,
        refusal_cache=parts.refusal_cache,
    )
    service.resource("http", http)
    if config.nats_callout_seed:
        callout = AuthCallout(
            config.nats_callout_seed,
            bus,
            database,
            parts.callers,
            parts.durable_consumers,
            subscribers=parts.external_subscribers,
        )
        service.start(
            "outsiders",
            lambda: bus.listen(
                subjects.SUBSCRIBER_ADMITTED, SubscriberAdmitted, parts.external_subscribers.on_admitted
            ),
        )
        service.start("callout", callout.listen)
        service.task("callout", callout.run)
        service.task(
            "event watch", ConnectionMonitor(bus, database, parts.external_subscribers, config.event_check_s).run
        )
    publish_endpoints(service, database)
    watch_database(service)
    for timer in timers(parts):
        service.task(timer.name, timer.main)
    service.drain("http", http.drain)
    service.drain("accepted predictions", parts.acceptor.drained)
    service.drain("token uses", parts.callers.uses.flush)
    service.drain("predictions accepted once", parts.idempotent_acceptor.drained)
    return service


def timers(parts: Parts) -> tuple[Timer, ...]:
    """Return the named tasks that run as long as the gateway. If one fails, the gateway stops and is restarted."""
    return (
        Timer("waiting requests", parts.waiters.poll),
        Timer("limits", parts.rate_limiter.run),
        Timer("token uses", parts.callers.uses.run),
        Timer("refusals", lambda: connections.expire_refusals(parts.refusal_cache)),
        Timer("stream poll", parts.feeds.poll),
        Timer("stream settling", parts.feeds.reread),
        Timer("stream heartbeats", parts.feeds.keep_alive),
    )


async def listen_to_bus(parts: Parts) -> None:
    """Subscribe to ends of predictions that requests wait for, to the state of queues, and to stored live output."""

    def ended(event: Lifecycle) -> None:
        parts.admission.ended(event.id)
        parts.waiters.on_completed(event)

    await parts.feeds.listen()
    await parts.bus.listen_directly(subjects.gateway_events(parts.gateway), Lifecycle, ended)
    await parts.bus.listen(subjects.LOAD, LoadReport, parts.admission.on_load)
    await parts.bus.listen(subjects.WARM_QUEUES, WarmQueues, parts.acceptor.on_warm)
    await parts.bus.listen(subjects.WARM_QUEUES, WarmQueues, parts.queue_status.on_warm)


def cli() -> None:
    main("gateway", Config, build)
