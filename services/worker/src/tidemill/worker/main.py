"""The worker's composition root: the order in which its parts start, and how they end."""

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
from tidemill.worker import triggers
from tidemill.worker.config import Config
from tidemill.worker.local_store import LocalStore
from tidemill.worker.parts import Parts, build_parts

NAME = "worker"


async def build(config: Config) -> Service:
    service, parts = Service(NAME, config), build_parts(config)
    _add_start(service, parts)
    publish_endpoints(service, parts.context.database)
    watch_database(service)
    for name, task in triggers.timers(parts):
        service.task(name, task)
    _add_drain(service, parts)
    return service


def _add_start(service: Service, parts: Parts) -> None:
    """Add what starts one after the other. It ends in the opposite order."""
    context = parts.context

    async def listen() -> None:
        for listener in triggers.listeners(context.worker, parts.handlers):
            wire = context.bus.serve if listener.answers else context.bus.listen
            await wire(listener.subject, listener.kind, listener.handle)
        for call in triggers.on_reconnected(parts.handlers):
            context.bus.on_reconnected(call)

    service.resource("cache", _cache(context.home, parts.local_store))
    service.resource("database", context.database)
    service.start("migrations", lambda: migrate(context.database))
    service.start("settings", lambda: check_shared_settings(context.database, NAME, context.config))
    service.resource("bus", context.bus)
    service.resource("objects", context.objects)
    service.start("platform", context.platform.look_up)
    service.start("sandbox", parts.reporter.probe_layers)
    service.start("lease", parts.lease.register)
    service.resource("instances", _instances(parts))
    service.start("listeners", listen)
    service.ready_when("bus", context.bus.not_ready)


def _add_drain(service: Service, parts: Parts) -> None:
    """Add what is finished before a clean stop."""
    runs = parts.runs

    async def stop_pulls() -> None:
        runs.table.is_draining = True
        parts.instances.manager.changed.set()
        await runs.pulls.stop()

    async def finish_runs() -> None:
        await runs.engine.wait_until_idle()
        await runs.writer.drained()

    service.drain("pulls", stop_pulls)
    service.drain("runs", finish_runs)


@contextlib.asynccontextmanager
async def _cache(home: Path, local_store: LocalStore) -> AsyncIterator[None]:
    """Open the worker's folder, and remove what instances of a dead worker left there."""

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
async def _instances(parts: Parts) -> AsyncIterator[None]:
    """End the children before the lease: the predictions that they ran are then given away at once."""
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
    main(NAME, Config, build)
