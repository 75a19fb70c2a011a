"""The worker's composition root: in which order its parts begin, what goes on all the time, and how they end."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from tidemill.runtime.migrate import migrate
from tidemill.runtime.readiness import watch_database
from tidemill.runtime.service import Service, main
from tidemill.runtime.service_endpoints import publish_endpoints
from tidemill.runtime.shared_settings import check_shared_settings
from tidemill.worker.cache.periodic_eviction import evict
from tidemill.worker.config import Config
from tidemill.worker.fleet.heartbeat import beat, offer
from tidemill.worker.parts import LocalStore, Parts, assemble
from tidemill.worker.runs import time_limits
from tidemill.worker.runs.saving import save_progress
from tidemill.worker.triggers import listeners


async def build(config: Config) -> Service:
    service, parts = Service("worker", config), assemble(config)
    _add_start(service, parts)
    _add_tasks(service, parts)
    _add_end(service, parts)
    return service


def _add_start(service: Service, parts: Parts) -> None:
    """What comes up one after the other; it ends in the opposite order."""
    context, manager, engine = parts.context, parts.instances.manager, parts.runs.engine

    async def listen() -> None:
        surface = listeners(
            context.worker,
            on_command=manager.obey,
            on_cancel=engine.on_cancel,
            on_push=parts.versions.pushes.on_push,
            on_removed=manager.removed,
            on_version=parts.versions.prefetch.on_version,
            on_urgent=parts.runs.urgency.on_urgent,
        )
        for listener in surface:
            wire = context.bus.serve if listener.answers else context.bus.listen
            await wire(listener.subject, listener.kind, listener.handle)
        context.bus.on_reconnected(parts.runs.urgency.look)

    service.resource("cache", _cache(context.home, parts.local_store))
    service.resource("database", context.database)
    service.start("migrations", lambda: migrate(context.database))
    service.start("settings", lambda: check_shared_settings(context.database, "worker", context.config))
    service.resource("bus", context.bus)
    service.resource("objects", context.objects)
    service.start("platform", context.platform.look_up)
    service.start("sandbox", parts.reporter.look_at_layers)
    service.start("lease", parts.lease.register)
    service.resource("instances", _closing(parts))
    service.start("listeners", listen)
    service.ready_when("bus", context.bus.not_ready)


def _add_tasks(service: Service, parts: Parts) -> None:
    """What goes on all the time."""
    context, local_store, runs, instances = parts.context, parts.local_store, parts.runs, parts.instances
    config, manager, watcher = context.config, instances.manager, instances.watcher
    offered = offer(config.instances, instances.gpus)
    publish_endpoints(service, context.database)
    watch_database(service)
    service.task("platform", context.platform.follow)
    service.task("zygotes", local_store.zygotes.keep_warm)
    service.task("lease", parts.lease.keep)
    service.task("heartbeat", lambda: beat(context.bus, runs.engine, offered, manager.changed))
    service.task("GPUs", instances.gpus.observe)
    service.task("report", parts.reporter.run)
    service.task("pulls", runs.pulls.run)
    service.task("prices", runs.queues.follow_prices)
    service.task("watch", runs.timekeeper.watch)
    service.task("time limits", lambda: time_limits.follow(context.database, runs.timekeeper.limit_times))
    service.task("memory", watcher.memory)
    service.task("stopped", watcher.stopped)
    service.task("disk", watcher.disk)
    service.task("boots under way", lambda: instances.records.follow(manager.booting))
    service.task("health", watcher.health)
    service.task("progress", lambda: save_progress(runs.engine, runs.records, config.save_every_s))
    service.task("live output", runs.live.publish)
    service.task("pushes", parts.versions.pushes.run)
    service.task("prefetch", parts.versions.prefetch.run)
    service.task(
        "eviction",
        lambda: evict(
            local_store.bundles, local_store.environments, manager.environments_in_use, config.cache_limit_bytes
        ),
    )


def _add_end(service: Service, parts: Parts) -> None:
    """What is finished before a clean stop."""
    runs = parts.runs

    async def stop_taking() -> None:
        runs.engine.draining = True
        parts.instances.manager.changed.set()
        await runs.pulls.stop()

    async def finish() -> None:
        await runs.engine.idle()
        await runs.records.drained()

    service.drain("pulls", stop_taking)
    service.drain("runs", finish)


@contextlib.asynccontextmanager
async def _cache(home: Path, local_store: LocalStore) -> AsyncIterator[None]:
    """The worker's folder; what instances of a dead worker left is removed."""

    def clear() -> None:
        home.mkdir(parents=True, exist_ok=True)
        local_store.scratch.__enter__()
        local_store.folders.remove_all()
        shutil.rmtree(home / "inspections", ignore_errors=True)

    await asyncio.to_thread(clear)
    try:
        yield
    finally:
        await asyncio.to_thread(local_store.scratch.__exit__, None, None, None)


@contextlib.asynccontextmanager
async def _closing(parts: Parts) -> AsyncIterator[None]:
    """Children end before the lease does: what they were at is then given away at once."""
    local_store = parts.local_store
    try:
        yield
    finally:
        await parts.instances.manager.close()
        await local_store.zygotes.close()
        await parts.instances.egress_proxies.close_all()
        await parts.lease.release()
        await local_store.environments.close()
        await local_store.bundles.close()
        await local_store.blobs.close()
        await parts.context.egress.close()


def cli() -> None:
    main("worker", Config, build)
