"""The worker's parts, and what they are made of: group by group, in the order in which they build on one another."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import nats.errors

from tidemill.contracts import subjects
from tidemill.contracts.events import VersionMade
from tidemill.contracts.ids import new_id
from tidemill.contracts.limits import CANCEL_AFTER_LIMIT_S
from tidemill.hosting.environments import Environments
from tidemill.hosting.frames import Log
from tidemill.hosting.inspection import SandboxedInspector
from tidemill.hosting.installer import Installer
from tidemill.hosting.scratch import Scratch
from tidemill.hosting.ways_out import WaysOut
from tidemill.hosting.zygotes import Zygotes
from tidemill.runtime.billing import Tariffs, prices
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import now
from tidemill.runtime.db import Database
from tidemill.runtime.objects import Objects
from tidemill.runtime.platform import Platform
from tidemill.runtime.service import StartError, setting
from tidemill.security.delivery import delivery_url, object_key_of_url
from tidemill.security.egress import Egress
from tidemill.security.egress_policy import Allow, EgressPolicy
from tidemill.security.public_urls import PublicUrls
from tidemill.worker.cache.blobs import Blobs, StoredBlobs
from tidemill.worker.cache.bundles import Bundles
from tidemill.worker.cache.prefetch import Prefetch
from tidemill.worker.config import Config
from tidemill.worker.files.inputs import Inputs
from tidemill.worker.files.outputs import Outputs
from tidemill.worker.files.preparation import Preparation
from tidemill.worker.fleet.heartbeat import Lease
from tidemill.worker.fleet.report import Reporter, Settings
from tidemill.worker.gpus.assignments import GpuAssignments
from tidemill.worker.gpus.devices import discover
from tidemill.worker.instances import usage
from tidemill.worker.instances.boot_records import BootRecords
from tidemill.worker.instances.boots import BootPorts, Boots
from tidemill.worker.instances.clearing import Clearing
from tidemill.worker.instances.confinement import Policy, required_layers
from tidemill.worker.instances.folders import Folders
from tidemill.worker.instances.forks import Forks
from tidemill.worker.instances.idleness import Idleness
from tidemill.worker.instances.lives import Lives
from tidemill.worker.instances.privileges import Privileges
from tidemill.worker.instances.watching import Watcher
from tidemill.worker.runs.engine import Engine
from tidemill.worker.runs.live import Live
from tidemill.worker.runs.ports import Ports
from tidemill.worker.runs.pulls import Pulls
from tidemill.worker.runs.queues import Queues
from tidemill.worker.runs.records import Records
from tidemill.worker.runs.run import Run
from tidemill.worker.runs.timekeeper import Timekeeper
from tidemill.worker.runs.urgency import Urgency
from tidemill.worker.versions.pushes import Pushes
from tidemill.worker.versions.trainings import Trainings


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
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
    egress: Egress


class Stock(msgspec.Struct, frozen=True, kw_only=True):
    """What lies on this machine for instances to be made of, and where they write."""

    scratch: Scratch
    blobs: Blobs
    bundles: Bundles
    environments: Environments
    zygotes: Zygotes
    folders: Folders


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    engine: Engine
    records: Records
    live: Live
    queues: Queues
    pulls: Pulls
    timekeeper: Timekeeper
    urgency: Urgency


class Instances(msgspec.Struct, frozen=True, kw_only=True):
    lives: Lives
    records: BootRecords
    gpus: GpuAssignments
    watcher: Watcher
    ways_out: WaysOut


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """Made here, and made elsewhere."""

    pushes: Pushes
    prefetch: Prefetch


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    around: Surroundings
    stock: Stock
    runs: Runs
    instances: Instances
    versions: Versions
    lease: Lease
    reporter: Reporter


def assemble(config: Config) -> Parts:
    """Nothing is started or asked yet. Raises StartError for settings that cannot be read."""
    around = _surroundings(config)
    stock = _stock(around)
    runs = _runs(around, stock)
    instances = _instances(around, stock, runs)
    about = Settings(home=around.home, capacity=config.instances, cache_limit_bytes=config.cache_limit_bytes)
    return Parts(
        around=around,
        stock=stock,
        runs=runs,
        instances=instances,
        versions=_versions(around, stock),
        lease=Lease(around.database, around.worker, config.lease_s),
        reporter=Reporter(runs.engine, around.database, stock.bundles, around.policy, about),
    )


def _surroundings(config: Config) -> Surroundings:
    home = Path(config.worker_home)
    if not home.is_absolute():
        raise StartError(f"TIDEMILL_WORKER_HOME must be an absolute path, not {config.worker_home!r}")
    required = setting("TIDEMILL_SANDBOX", required_layers, config.sandbox)
    allow = setting("TIDEMILL_EGRESS_ALLOW", Allow.parse, config.egress_allow)
    database = Database(config.database_url)
    servers = (config.database_url, config.nats_url, config.s3_url)
    platform = Platform.of(servers, config.public_urls, database)
    return Surroundings(
        worker=new_id(),
        home=home,
        key=bytes.fromhex(config.signing_key),
        config=config,
        public_urls=setting("TIDEMILL_PUBLIC_URLS", PublicUrls, config.public_urls),
        policy=Policy(required=required, network=config.model_network),
        database=database,
        bus=Bus(config.nats_url, "worker", retention_s=config.retention_s, events_bytes=config.events_bytes),
        objects=Objects(config),
        platform=platform,
        egress=Egress(EgressPolicy(allow=allow, reserved=platform.reserved, allow_http=True)),
    )


def _stock(around: Surroundings) -> Stock:
    home = around.home
    scratch = Scratch(home)
    installer = Installer(home / "uv", limit_bytes=around.config.environment_limit_bytes)
    blobs = Blobs(home / "blobs", StoredBlobs(around.objects), scratch)
    return Stock(
        scratch=scratch,
        blobs=blobs,
        bundles=Bundles(home / "versions", blobs, scratch),
        environments=Environments(home / "environments", installer, scratch),
        zygotes=Zygotes(home),
        folders=Folders(home / "instances"),
    )


def _runs(around: Surroundings, stock: Stock) -> Runs:
    config, database = around.config, around.database
    live = Live(around.bus)
    queues = Queues(live, Tariffs(database, setting("TIDEMILL_PRICES", prices, config.prices)))
    records = Records(around.worker, database, around.bus)

    def say(run: Run, line: str) -> None:
        if kept := run.add_log(line):
            live.chunk(run, Log(run.job.id, kept))

    outputs = Outputs(around.objects, _url_for(around), say)
    trainings = Trainings(around.worker, database, around.objects, stock.scratch, outputs.upload, queues.trains)
    preparation = Preparation(
        database, _inputs(around), queues, lambda instance: stock.folders.paths(instance.id).inputs, say
    )
    ports = Ports(
        records=records,
        needs_preparation=queues.needs_preparation,
        tariff=queues.tariff,
        prepare=preparation.prepare,
        upload=trainings.upload,
        discard_inputs=preparation.discard,
        chunk=live.chunk,
        uploads_behind=lambda: outputs.behind,
    )
    engine = Engine(around.worker, ports)
    return Runs(
        engine=engine,
        records=records,
        live=live,
        queues=queues,
        pulls=Pulls(around.bus, engine),
        timekeeper=Timekeeper(engine, time_limit_s=config.time_limit_s, kill_after_s=config.kill_after_s),
        urgency=Urgency(engine, database),
    )


def _url_for(around: Surroundings) -> Callable[[str], str]:
    config = around.config

    def url_for(object_key: str) -> str:
        expires_at = int(now()) + CANCEL_AFTER_LIMIT_S + config.retention_s
        return delivery_url(around.key, around.public_urls.first, object_key, expires_at)

    return url_for


def _inputs(around: Surroundings) -> Inputs:
    return Inputs(
        around.database,
        around.objects,
        around.egress,
        public_urls=around.public_urls,
        delivery_key=lambda url: object_key_of_url([around.key], url, now()),
    )


def _instances(around: Surroundings, stock: Stock, runs: Runs) -> Instances:
    config, database, engine, folders = around.config, around.database, runs.engine, stock.folders
    allow = setting("TIDEMILL_MODEL_NETWORK_ALLOW", Allow.parse, config.model_network_allow)
    ways_out = WaysOut(around.platform, allow)
    watcher = Watcher(
        disk_limit_bytes=config.instance_disk_bytes,
        health_every_s=config.health_every_s,
        disk_is_memory=usage.lies_in_memory(folders.root),
    )
    idleness = Idleness(engine)
    gpus = GpuAssignments(discover(), idle_s=idleness.idle_s, stop=idleness.stop)
    ports = BootPorts(
        database=database,
        bundles=stock.bundles,
        environments=stock.environments,
        queues=runs.queues,
        gpus=gpus,
        privileges=Privileges(database, around.key, around.policy),
        forks=Forks(stock.zygotes, folders),
        folders=folders,
        ways_out=ways_out,
        watcher=watcher,
    )
    records = BootRecords(database, around.worker)
    lives = Lives(
        engine,
        Boots(engine, ports),
        Clearing(gpus, ways_out, watcher, folders),
        records,
        capacity=config.instances,
        timeout_s=config.boot_timeout_s,
    )
    return Instances(lives=lives, records=records, gpus=gpus, watcher=watcher, ways_out=ways_out)


def _versions(around: Surroundings, stock: Stock) -> Versions:
    database, bus, environments, zygotes = around.database, around.bus, stock.environments, stock.zygotes

    async def version_made(queue: str, account: str) -> None:
        with contextlib.suppress(nats.errors.Error):  # a hint: those who miss it fetch when they boot
            await bus.send(subjects.VERSION_MADE, VersionMade(queue=queue, account=account))

    config = around.config
    inspector = SandboxedInspector(zygotes, around.home, around.policy.required, limit_s=config.import_limit_s)
    limit_bytes = config.cache_limit_bytes // 2
    return Versions(
        pushes=Pushes(
            around.worker, database, stock.bundles, environments, inspector, version_made, at_once=config.builds
        ),
        prefetch=Prefetch(database, stock.blobs, stock.bundles, environments, zygotes, limit_bytes),
    )
