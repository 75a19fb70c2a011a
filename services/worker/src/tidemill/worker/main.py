"""The worker's composition root."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import nats.errors

from tidemill.contracts import subjects
from tidemill.contracts.events import VersionMade
from tidemill.contracts.ids import new_id
from tidemill.contracts.limits import CANCEL_AFTER_LIMIT_S
from tidemill.hosting.environments import Environments
from tidemill.hosting.inspection import SandboxedInspector
from tidemill.hosting.installer import Installer
from tidemill.hosting.scratch import Scratch
from tidemill.hosting.ways_out import Platform, WaysOut
from tidemill.hosting.zygotes import Zygotes
from tidemill.runtime.billing import Tariffs, prices
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import now
from tidemill.runtime.db import Database
from tidemill.runtime.migrate import migrate
from tidemill.runtime.objects import Objects
from tidemill.runtime.service import Service, StartError, main
from tidemill.security.delivery import delivery_url, object_key_of_url
from tidemill.security.egress import Egress
from tidemill.security.egress_policy import Allow, EgressPolicy
from tidemill.worker.cache.blobs import Blobs, StoredBlobs
from tidemill.worker.cache.bundles import Bundles
from tidemill.worker.cache.prefetch import Prefetch
from tidemill.worker.cache.upkeep import evict
from tidemill.worker.config import Config
from tidemill.worker.files.inputs import Inputs
from tidemill.worker.files.outputs import Outputs
from tidemill.worker.files.preparation import Preparation
from tidemill.worker.fleet.heartbeat import Lease, beat, capacity
from tidemill.worker.fleet.report import Reporter, Settings
from tidemill.worker.gpus.devices import discover
from tidemill.worker.instances.boots import Boots
from tidemill.worker.instances.confinement import Policy, required_layers
from tidemill.worker.instances.privileges import Privileges
from tidemill.worker.instances.watching import Watcher
from tidemill.worker.runs import time_limits
from tidemill.worker.runs.engine import Engine, Ports
from tidemill.worker.runs.live import Live
from tidemill.worker.runs.pulls import Pulls
from tidemill.worker.runs.queues import Queues
from tidemill.worker.runs.records import Records
from tidemill.worker.triggers import listeners
from tidemill.worker.versions.pushes import Pushes
from tidemill.worker.versions.trainings import Trainings


async def build(config: Config) -> Service:  # noqa: PLR0915 - one straight list of parts
    service = Service("worker", config)
    worker = new_id()
    home = Path(config.worker_home)
    if not home.is_absolute():
        raise StartError(f"TIDEMILL_WORKER_HOME must be an absolute path, not {config.worker_home!r}")
    key = bytes.fromhex(config.signing_key)
    database = Database(config.database_url)
    bus = Bus(config.nats_url, "worker", retention_s=config.retention_s)
    objects = Objects(config)
    egress = Egress(EgressPolicy(allow=Allow.parse(config.egress_allow), allow_http=True))
    scratch = Scratch(home)
    blobs = Blobs(home / "blobs", StoredBlobs(objects), scratch)
    bundles = Bundles(home / "versions", blobs, scratch)
    environments = Environments(home / "environments", Installer(home / "uv"), scratch)
    zygotes = Zygotes(home)
    live = Live(bus)
    queues = Queues(live, Tariffs(database, _prices(config)))
    records = Records(worker, database, bus)

    def url_for(object_key: str) -> str:
        expires_at = int(now()) + CANCEL_AFTER_LIMIT_S + config.retention_s
        return delivery_url(key, config.public_url, object_key, expires_at)

    inputs = Inputs(
        database,
        objects,
        egress,
        public_url=config.public_url,
        delivery_key=lambda url: object_key_of_url([key], config.public_url, url, now()),
    )
    outputs = Outputs(objects, url_for)
    trainings = Trainings(worker, database, objects, scratch, outputs.upload, queues.trains)
    preparation = Preparation(database, inputs, queues, lambda instance: home / "instances" / instance.id / "inputs")
    engine = Engine(
        worker,
        Ports(
            records=records,
            needs_preparation=queues.needs_preparation,
            tariff=queues.tariff,
            prepare=preparation.prepare,
            upload=trainings.upload,
            discard_inputs=preparation.discard,
            chunk=live.chunk,
        ),
        time_limit_s=config.time_limit_s,
        kill_after_s=config.kill_after_s,
    )
    watcher = Watcher(disk_limit_bytes=config.instance_disk_bytes, health_every_s=config.health_every_s)
    policy = _policy(config)
    platform = Platform((config.database_url, config.nats_url, config.s3_url, config.public_url))
    ways_out = WaysOut(platform, _allow(config))
    watcher = Watcher(disk_limit_bytes=config.instance_disk_bytes, health_every_s=config.health_every_s)
    boots = Boots(
        engine,
        database,
        bundles,
        environments,
        zygotes,
        queues,
        home=home,
        capacity=config.instances,
        timeout_s=config.boot_timeout_s,
        privileges=Privileges(database, key, policy),
        ways_out=ways_out,
        watcher=watcher,
        machine=discover(),
    )
    inspector = SandboxedInspector(zygotes, home, policy.required)

    async def version_made(queue: str) -> None:
        with contextlib.suppress(nats.errors.Error):  # a hint: those who miss it fetch when they boot
            await bus.send(subjects.VERSION_MADE, VersionMade(queue=queue))

    pushes = Pushes(worker, database, bundles, environments, inspector, version_made)
    prefetch = Prefetch(database, blobs, bundles, environments, zygotes, config.cache_limit_bytes // 2)
    about = Settings(home=home, capacity=config.instances, cache_limit_bytes=config.cache_limit_bytes)
    reporter = Reporter(engine, database, bundles, policy, about)
    lease = Lease(database, worker, config.lease_s)
    pulls = Pulls(bus, engine)

    async def listen() -> None:
        surface = listeners(
            worker,
            on_command=boots.obey,
            on_cancel=engine.on_cancel,
            on_push=pushes.on_push,
            on_removed=boots.removed,
            on_version=prefetch.on_version,
            on_urgent=boots.urgent,
        )
        for listener in surface:
            wire = bus.serve if listener.answers else bus.listen
            await wire(listener.subject, listener.kind, listener.handle)
        bus.on_reconnected(boots.look_for_urgent)

    async def stop_taking() -> None:
        engine.draining = True
        boots.changed.set()
        await pulls.stop()

    async def finish() -> None:
        await engine.idle()
        await records.drained()

    service.resource("cache", _cache(home, scratch))
    service.resource("database", database)
    service.start("migrations", lambda: migrate(database))
    service.resource("bus", bus)
    service.resource("objects", objects)
    service.start("zygotes", zygotes.warm)
    service.start("platform", platform.look_up)
    service.start("sandbox", reporter.look_at_layers)
    service.start("lease", lease.register)
    service.resource("instances", _closing(boots, lease, blobs, bundles, environments, egress))
    service.start("listeners", listen)
    service.task("lease", lease.keep)
    service.task("heartbeat", lambda: beat(bus, engine, capacity(config.instances, boots.gpus), boots.changed))
    service.task("GPUs", boots.gpus.observe)
    service.task("report", reporter.run)
    service.task("pulls", pulls.run)
    service.task("prices", queues.follow_prices)
    service.task("watch", engine.watch)
    service.task("time limits", lambda: time_limits.follow(database, engine.limit_times))
    service.task("memory", watcher.memory)
    service.task("disk", watcher.disk)
    service.task("health", watcher.health)
    service.task("progress", lambda: engine.save_progress(config.save_every_s))
    service.task("live output", live.publish)
    service.task("pushes", pushes.run)
    service.task("prefetch", prefetch.run)
    service.task("eviction", lambda: evict(bundles, environments, boots.environments_in_use, config.cache_limit_bytes))
    service.drain("pulls", stop_taking)
    service.drain("runs", finish)
    service.ready_when("bus", bus.not_ready)
    return service


@contextlib.asynccontextmanager
async def _cache(home: Path, scratch: Scratch) -> AsyncIterator[None]:
    """The worker's folder; what instances of a dead worker left is removed."""

    def clear() -> None:
        home.mkdir(parents=True, exist_ok=True)
        scratch.__enter__()
        for leftover in (home / "instances", home / "inspections"):
            shutil.rmtree(leftover, ignore_errors=True)

    await asyncio.to_thread(clear)
    try:
        yield
    finally:
        await asyncio.to_thread(scratch.__exit__, None, None, None)


@contextlib.asynccontextmanager
async def _closing(  # noqa: PLR0917 - what must be closed, in order
    boots: Boots, lease: Lease, blobs: Blobs, bundles: Bundles, environments: Environments, egress: Egress
) -> AsyncIterator[None]:
    """Children end before the lease does: what they were at is then given away at once."""
    try:
        yield
    finally:
        await boots.close()
        await lease.release()
        await environments.close()
        await bundles.close()
        await blobs.close()
        await egress.close()


def _allow(config: Config) -> Allow:
    try:
        return Allow.parse(config.model_network_allow)
    except ValueError as error:
        raise StartError(f"TIDEMILL_MODEL_NETWORK_ALLOW cannot be read: {error}") from None


def _policy(config: Config) -> Policy:
    try:
        return Policy(required=required_layers(config.sandbox), network=config.model_network)
    except ValueError as error:
        raise StartError(f"TIDEMILL_SANDBOX cannot be read: {error}") from None


def _prices(config: Config) -> dict[str, float]:
    try:
        return prices(config.prices)
    except ValueError as error:
        raise StartError(f"TIDEMILL_PRICES cannot be read: {error}") from None


def cli() -> None:
    main("worker", Config, build)
