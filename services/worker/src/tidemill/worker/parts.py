"""The worker's parts, and what they are made of: group by group, in the order in which they build on one another."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import nats.errors

from tidemill.contracts import subjects
from tidemill.contracts.events import VersionCreated
from tidemill.contracts.ids import new_id
from tidemill.contracts.limits import CANCEL_AFTER_LIMIT_S
from tidemill.hosting.child.egress_proxies import EgressProxies
from tidemill.hosting.child.frames import Log
from tidemill.hosting.child.inspection import SandboxedInspector
from tidemill.hosting.child.zygotes import Zygotes
from tidemill.hosting.environments.installer import Installer
from tidemill.hosting.environments.store import Environments
from tidemill.hosting.scratch import Scratch
from tidemill.runtime.billing import Tariffs, prices
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import now
from tidemill.runtime.db import Database
from tidemill.runtime.objects.store import Objects
from tidemill.runtime.platform import Platform
from tidemill.runtime.service import StartError, parse_setting
from tidemill.security.delivery_urls import delivery_url, object_key_of_url
from tidemill.security.egress.client import EgressClient
from tidemill.security.egress.policy import AllowList, EgressPolicy
from tidemill.security.public_urls import PublicUrls
from tidemill.worker.cache.blobs import BlobCache, ObjectStoreBlobs
from tidemill.worker.cache.bundles import BundleCache
from tidemill.worker.cache.prefetch import Prefetcher
from tidemill.worker.config import Config
from tidemill.worker.files.inputs import InputFetcher
from tidemill.worker.files.outputs import OutputUploader
from tidemill.worker.files.preparation import InputPreparation
from tidemill.worker.fleet.heartbeat import Lease
from tidemill.worker.fleet.report import Reporter, ReportSettings
from tidemill.worker.gpus.assignments import GpuAssignments
from tidemill.worker.gpus.devices import discover
from tidemill.worker.handlers.priorities import PriorityHandler
from tidemill.worker.instances import usage
from tidemill.worker.instances.boot_records import BootRecords
from tidemill.worker.instances.booter import Booter, BootPorts
from tidemill.worker.instances.cleanup import Cleanup
from tidemill.worker.instances.confinement import Policy, required_layers
from tidemill.worker.instances.folders import InstanceFolders
from tidemill.worker.instances.forks import ForkBuilder
from tidemill.worker.instances.idle_instances import IdleInstances
from tidemill.worker.instances.manager import InstanceManager
from tidemill.worker.instances.monitor import InstanceMonitor
from tidemill.worker.instances.privileges import PrivilegeReader
from tidemill.worker.runs.engine import Engine
from tidemill.worker.runs.live_output import LiveOutput
from tidemill.worker.runs.ports import EnginePorts
from tidemill.worker.runs.pulls import Pulls
from tidemill.worker.runs.queue_versions import QueueVersions
from tidemill.worker.runs.run import Run
from tidemill.worker.runs.run_writer import RunWriter
from tidemill.worker.runs.watchdog import Watchdog
from tidemill.worker.versions.pushes import PushBuilder
from tidemill.worker.versions.trainings import TrainingOutputs


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Who this worker is, what it was told, and what it reaches."""

    worker: str
    home: Path
    key: bytes
    config: Config
    public_urls: PublicUrls
    policy: Policy
    database: Database
    bus: Bus
    objects: Objects
    platform: Platform
    egress: EgressClient


class LocalStore(msgspec.Struct, frozen=True, kw_only=True):
    """What lies on this machine for instances to be made of, and where they write."""

    scratch: Scratch
    blobs: BlobCache
    bundles: BundleCache
    environments: Environments
    zygotes: Zygotes
    folders: InstanceFolders


class RunParts(msgspec.Struct, frozen=True, kw_only=True):
    engine: Engine
    records: RunWriter
    live: LiveOutput
    queues: QueueVersions
    pulls: Pulls
    timekeeper: Watchdog
    urgency: PriorityHandler


class InstanceParts(msgspec.Struct, frozen=True, kw_only=True):
    manager: InstanceManager
    records: BootRecords
    gpus: GpuAssignments
    watcher: InstanceMonitor
    egress_proxies: EgressProxies


class VersionParts(msgspec.Struct, frozen=True, kw_only=True):
    """Made here, and made elsewhere."""

    pushes: PushBuilder
    prefetch: Prefetcher


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    context: Context
    local_store: LocalStore
    runs: RunParts
    instances: InstanceParts
    versions: VersionParts
    lease: Lease
    reporter: Reporter


def assemble(config: Config) -> Parts:
    """Nothing is started or asked yet. Raises StartError for settings that cannot be read."""
    context = _context(config)
    local_store = _local_store(context)
    runs = _runs(context, local_store)
    instances = _instances(context, local_store, runs)
    about = ReportSettings(home=context.home, capacity=config.instances, cache_limit_bytes=config.cache_limit_bytes)
    return Parts(
        context=context,
        local_store=local_store,
        runs=runs,
        instances=instances,
        versions=_versions(context, local_store),
        lease=Lease(context.database, context.worker, config.lease_s),
        reporter=Reporter(runs.engine, context.database, local_store.bundles, context.policy, about),
    )


def _context(config: Config) -> Context:
    home = Path(config.worker_home)
    if not home.is_absolute():
        raise StartError(f"TIDEMILL_WORKER_HOME must be an absolute path, not {config.worker_home!r}")
    required = parse_setting("TIDEMILL_SANDBOX", required_layers, config.sandbox)
    allow = parse_setting("TIDEMILL_EGRESS_ALLOW", AllowList.parse, config.egress_allow)
    database = Database(config.database_url)
    servers = (config.database_url, config.nats_url, config.s3_url)
    platform = Platform.of(servers, config.public_urls, database)
    return Context(
        worker=new_id(),
        home=home,
        key=bytes.fromhex(config.signing_key),
        config=config,
        public_urls=parse_setting("TIDEMILL_PUBLIC_URLS", PublicUrls, config.public_urls),
        policy=Policy(required=required, network=config.model_network),
        database=database,
        bus=Bus(config.nats_url, "worker", retention_s=config.retention_s, events_bytes=config.events_bytes),
        objects=Objects(config),
        platform=platform,
        egress=EgressClient(EgressPolicy(allow=allow, reserved=platform.reserved, allow_http=True)),
    )


def _local_store(context: Context) -> LocalStore:
    home = context.home
    scratch = Scratch(home)
    installer = Installer(home / "uv", limit_bytes=context.config.environment_limit_bytes)
    blobs = BlobCache(home / "blobs", ObjectStoreBlobs(context.objects), scratch)
    return LocalStore(
        scratch=scratch,
        blobs=blobs,
        bundles=BundleCache(home / "versions", blobs, scratch),
        environments=Environments(home / "environments", installer, scratch),
        zygotes=Zygotes(home),
        folders=InstanceFolders(home / "instances"),
    )


def _runs(context: Context, local_store: LocalStore) -> RunParts:
    config, database = context.config, context.database
    live = LiveOutput(context.bus)
    queues = QueueVersions(live, Tariffs(database, parse_setting("TIDEMILL_PRICES", prices, config.prices)))
    records = RunWriter(context.worker, database, context.bus)

    def say(run: Run, line: str) -> None:
        if kept := run.add_log(line):
            live.chunk(run, Log(run.job.id, kept))

    outputs = OutputUploader(context.objects, _url_for(context), say)
    trainings = TrainingOutputs(
        context.worker, database, context.objects, local_store.scratch, outputs.upload, queues.trains
    )
    preparation = InputPreparation(
        database, _inputs(context), queues, lambda instance: local_store.folders.paths(instance.id).inputs, say
    )
    ports = EnginePorts(
        records=records,
        needs_preparation=queues.needs_preparation,
        tariff=queues.tariff,
        prepare=preparation.prepare,
        upload=trainings.upload,
        discard_inputs=preparation.discard,
        chunk=live.chunk,
        uploads_behind=lambda: outputs.behind,
    )
    engine = Engine(context.worker, ports)
    return RunParts(
        engine=engine,
        records=records,
        live=live,
        queues=queues,
        pulls=Pulls(context.bus, engine),
        timekeeper=Watchdog(engine, time_limit_s=config.time_limit_s, kill_after_s=config.kill_after_s),
        urgency=PriorityHandler(engine, database),
    )


def _url_for(context: Context) -> Callable[[str], str]:
    config = context.config

    def url_for(object_key: str) -> str:
        expires_at = int(now()) + CANCEL_AFTER_LIMIT_S + config.retention_s
        return delivery_url(context.key, context.public_urls.first, object_key, expires_at)

    return url_for


def _inputs(context: Context) -> InputFetcher:
    return InputFetcher(
        context.database,
        context.objects,
        context.egress,
        public_urls=context.public_urls,
        delivery_key=lambda url: object_key_of_url([context.key], url, now()),
    )


def _instances(context: Context, local_store: LocalStore, runs: RunParts) -> InstanceParts:
    config, database, engine, folders = context.config, context.database, runs.engine, local_store.folders
    allow = parse_setting("TIDEMILL_MODEL_NETWORK_ALLOW", AllowList.parse, config.model_network_allow)
    egress_proxies = EgressProxies(context.platform, allow)
    watcher = InstanceMonitor(
        disk_limit_bytes=config.instance_disk_bytes,
        health_every_s=config.health_every_s,
        disk_is_memory=usage.lies_in_memory(folders.root),
    )
    idleness = IdleInstances(engine)
    gpus = GpuAssignments(discover(), idle_s=idleness.idle_s, stop=idleness.stop)
    ports = BootPorts(
        database=database,
        bundles=local_store.bundles,
        environments=local_store.environments,
        queues=runs.queues,
        gpus=gpus,
        privileges=PrivilegeReader(database, context.key, context.policy),
        forks=ForkBuilder(local_store.zygotes, folders),
        folders=folders,
        egress_proxies=egress_proxies,
        watcher=watcher,
    )
    records = BootRecords(database, context.worker)
    manager = InstanceManager(
        engine,
        Booter(engine, ports),
        Cleanup(gpus, egress_proxies, watcher, folders),
        records,
        capacity=config.instances,
        timeout_s=config.boot_timeout_s,
    )
    return InstanceParts(manager=manager, records=records, gpus=gpus, watcher=watcher, egress_proxies=egress_proxies)


def _versions(context: Context, local_store: LocalStore) -> VersionParts:
    database, bus, environments, zygotes = context.database, context.bus, local_store.environments, local_store.zygotes

    async def version_made(queue: str, account: str) -> None:
        with contextlib.suppress(nats.errors.Error):  # a hint: those who miss it fetch when they boot
            await bus.send(subjects.VERSION_CREATED, VersionCreated(queue=queue, account=account))

    config = context.config
    inspector = SandboxedInspector(zygotes, context.home, context.policy.required, limit_s=config.import_limit_s)
    limit_bytes = config.cache_limit_bytes // 2
    return VersionParts(
        pushes=PushBuilder(
            context.worker, database, local_store.bundles, environments, inspector, version_made, at_once=config.builds
        ),
        prefetch=Prefetcher(database, local_store.blobs, local_store.bundles, environments, zygotes, limit_bytes),
    )
