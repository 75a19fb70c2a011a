"""The worker's composition root: in which order its parts begin, what goes on all the time, and how they end."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from tidemill.runtime.agreement import agree
from tidemill.runtime.listeners import announce
from tidemill.runtime.migrate import migrate
from tidemill.runtime.readiness import watch_database
from tidemill.runtime.service import Service, main
from tidemill.worker.cache.upkeep import evict
from tidemill.worker.config import Config
from tidemill.worker.fleet.heartbeat import beat, offer
from tidemill.worker.parts import Parts, Stock, assemble
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
    around, lives, engine = parts.around, parts.instances.lives, parts.runs.engine

    async def listen() -> None:
        surface = listeners(
            around.worker,
            on_command=lives.obey,
            on_cancel=engine.on_cancel,
            on_push=parts.versions.pushes.on_push,
            on_removed=lives.removed,
            on_version=parts.versions.prefetch.on_version,
            on_urgent=parts.runs.urgency.on_urgent,
        )
        for listener in surface:
            wire = around.bus.serve if listener.answers else around.bus.listen
            await wire(listener.subject, listener.kind, listener.handle)
        around.bus.on_reconnected(parts.runs.urgency.look)

    service.resource("cache", _cache(around.home, parts.stock))
    service.resource("database", around.database)
    service.start("migrations", lambda: migrate(around.database))
    service.start("settings", lambda: agree(around.database, "worker", around.config))
    service.resource("bus", around.bus)
    service.resource("objects", around.objects)
    service.start("platform", around.platform.look_up)
    service.start("sandbox", parts.reporter.look_at_layers)
    service.start("lease", parts.lease.register)
    service.resource("instances", _closing(parts))
    service.start("listeners", listen)
    service.ready_when("bus", around.bus.not_ready)


def _add_tasks(service: Service, parts: Parts) -> None:
    """What goes on all the time."""
    around, stock, runs, instances = parts.around, parts.stock, parts.runs, parts.instances
    config, lives, watcher = around.config, instances.lives, instances.watcher
    offered = offer(config.instances, instances.gpus)
    announce(service, around.database)
    watch_database(service)
    service.task("platform", around.platform.follow)
    service.task("zygotes", stock.zygotes.keep_warm)
    service.task("lease", parts.lease.keep)
    service.task("heartbeat", lambda: beat(around.bus, runs.engine, offered, lives.changed))
    service.task("GPUs", instances.gpus.observe)
    service.task("report", parts.reporter.run)
    service.task("pulls", runs.pulls.run)
    service.task("prices", runs.queues.follow_prices)
    service.task("watch", runs.timekeeper.watch)
    service.task("time limits", lambda: time_limits.follow(around.database, runs.timekeeper.limit_times))
    service.task("memory", watcher.memory)
    service.task("stopped", watcher.stopped)
    service.task("disk", watcher.disk)
    service.task("boots under way", lambda: instances.records.follow(lives.booting))
    service.task("health", watcher.health)
    service.task("progress", lambda: save_progress(runs.engine, runs.records, config.save_every_s))
    service.task("live output", runs.live.publish)
    service.task("pushes", parts.versions.pushes.run)
    service.task("prefetch", parts.versions.prefetch.run)
    service.task(
        "eviction",
        lambda: evict(stock.bundles, stock.environments, lives.environments_in_use, config.cache_limit_bytes),
    )


def _add_end(service: Service, parts: Parts) -> None:
    """What is finished before a clean stop."""
    runs = parts.runs

    async def stop_taking() -> None:
        runs.engine.draining = True
        parts.instances.lives.changed.set()
        await runs.pulls.stop()

    async def finish() -> None:
        await runs.engine.idle()
        await runs.records.drained()

    service.drain("pulls", stop_taking)
    service.drain("runs", finish)


@contextlib.asynccontextmanager
async def _cache(home: Path, stock: Stock) -> AsyncIterator[None]:
    """The worker's folder; what instances of a dead worker left is removed."""

    def clear() -> None:
        home.mkdir(parents=True, exist_ok=True)
        stock.scratch.__enter__()
        stock.folders.remove_all()
        shutil.rmtree(home / "inspections", ignore_errors=True)

    await asyncio.to_thread(clear)
    try:
        yield
    finally:
        await asyncio.to_thread(stock.scratch.__exit__, None, None, None)


@contextlib.asynccontextmanager
async def _closing(parts: Parts) -> AsyncIterator[None]:
    """Children end before the lease does: what they were at is then given away at once."""
    stock = parts.stock
    try:
        yield
    finally:
        await parts.instances.lives.close()
        await stock.zygotes.close()
        await parts.instances.ways_out.close_all()
        await parts.lease.release()
        await stock.environments.close()
        await stock.bundles.close()
        await stock.blobs.close()
        await parts.around.egress.close()


def cli() -> None:
    main("worker", Config, build)
