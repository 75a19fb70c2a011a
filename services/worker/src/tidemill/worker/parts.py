"""The parts of the worker, chosen and wired here: group by group, in the order in which they build on one another."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import nats.errors

from tidemill.contracts import subjects
from tidemill.contracts.events import VersionCreated
from tidemill.contracts.limits import CANCEL_AFTER_LIMIT_S
from tidemill.hosting.child.egress_proxies import EgressProxies
from tidemill.hosting.child.frames import LogText
from tidemill.hosting.child.inspection import SandboxedInspector
from tidemill.runtime.billing import Tariffs, prices
from tidemill.runtime.clock import now
from tidemill.runtime.service import parse_setting
from tidemill.security.delivery_urls import delivery_url, object_key_of_url
from tidemill.security.egress.policy import AllowList
from tidemill.worker.cache.prefetch import Prefetcher
from tidemill.worker.config import Config
from tidemill.worker.context import Context, read_context
from tidemill.worker.files.inputs import InputFetcher
from tidemill.worker.files.outputs import OutputUploader
from tidemill.worker.files.preparation import InputPreparation
from tidemill.worker.fleet.heartbeat import WorkerResources, measure_resources
from tidemill.worker.fleet.lease import Lease
from tidemill.worker.fleet.report import Reporter, ReportSettings
from tidemill.worker.gpus.assignments import GpuAssignments
from tidemill.worker.gpus.devices import discover
from tidemill.worker.handlers.cancels import CancelHandler
from tidemill.worker.handlers.commands import CommandHandler
from tidemill.worker.handlers.priorities import PriorityHandler
from tidemill.worker.handlers.versions import VersionHandler
from tidemill.worker.instances import usage
from tidemill.worker.instances.boot_records import BootRecords
from tidemill.worker.instances.booter import Booter, BootPorts
from tidemill.worker.instances.cleanup import Cleanup
from tidemill.worker.instances.forks import ForkBuilder
from tidemill.worker.instances.idle_instances import IdleInstances
from tidemill.worker.instances.manager import InstanceManager
from tidemill.worker.instances.monitor import InstanceMonitor
from tidemill.worker.instances.privileges import PrivilegeReader
from tidemill.worker.local_store import LocalStore, open_local_store
from tidemill.worker.runs.engine import Engine
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.live_output import LiveOutput
from tidemill.worker.runs.ports import EnginePorts
from tidemill.worker.runs.pulls import JobPulls
from tidemill.worker.runs.queue_versions import QueueVersions
from tidemill.worker.runs.run import Run
from tidemill.worker.runs.run_ends import RunEnds
from tidemill.worker.runs.run_table import RunTable
from tidemill.worker.runs.run_writer import RunWriter
from tidemill.worker.runs.watchdog import Watchdog
from tidemill.worker.versions.pushes import PushBuilder
from tidemill.worker.versions.trainings import TrainingOutputs


class RunParts(msgspec.Struct, frozen=True, kw_only=True):
    table: RunTable
    ends: RunEnds
    engine: Engine
    writer: RunWriter
    live_output: LiveOutput
    queue_versions: QueueVersions
    pulls: JobPulls
    watchdog: Watchdog


class InstanceParts(msgspec.Struct, frozen=True, kw_only=True):
    manager: InstanceManager
    records: BootRecords
    gpus: GpuAssignments
    monitor: InstanceMonitor
    egress_proxies: EgressProxies


class VersionParts(msgspec.Struct, frozen=True, kw_only=True):
    """`push_builder` makes versions here; `prefetcher` fetches those that other workers made."""

    push_builder: PushBuilder
    prefetcher: Prefetcher


class Handlers(msgspec.Struct, frozen=True, kw_only=True):
    commands: CommandHandler
    cancels: CancelHandler
    versions: VersionHandler
    priorities: PriorityHandler


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    context: Context
    local_store: LocalStore
    runs: RunParts
    instances: InstanceParts
    versions: VersionParts
    handlers: Handlers
    lease: Lease
    reporter: Reporter
    resources: WorkerResources


def build_parts(config: Config) -> Parts:
    """Wire all parts; nothing is started or asked yet. Raise StartError for settings that cannot be read."""
    context = read_context(config)
    local_store = open_local_store(context)
    runs = _runs(context, local_store)
    instances = _instances(context, local_store, runs)
    versions = _versions(context, local_store)
    settings = ReportSettings(home=context.home, capacity=config.instances, cache_limit_bytes=config.cache_limit_bytes)
    return Parts(
        context=context,
        local_store=local_store,
        runs=runs,
        instances=instances,
        versions=versions,
        handlers=_handlers(context, runs, instances, versions),
        lease=Lease(context.database, context.worker, config.lease_s),
        reporter=Reporter(runs.table, context.database, local_store.bundles, context.policy, settings),
        resources=measure_resources(config.instances, instances.gpus),
    )


def _runs(context: Context, local_store: LocalStore) -> RunParts:
    config, database = context.config, context.database
    live_output = LiveOutput(context.bus)
    tariffs = Tariffs(database, parse_setting("TIDEMILL_PRICES", prices, config.prices))
    queue_versions = QueueVersions(live_output, tariffs)
    writer = RunWriter(context.worker, database, context.bus)

    def add_log_line(run: Run, line: str) -> None:
        if kept := run.add_log(line):
            live_output.add(run, LogText(run.job.id, kept))

    def input_folder(instance: Instance) -> Path:
        return local_store.folders.paths(instance.id).inputs

    uploader = OutputUploader(context.objects, _url_maker(context), add_log_line)
    trainings = TrainingOutputs(
        context.worker, database, context.objects, local_store.scratch, uploader.upload, queue_versions.trains
    )
    preparation = InputPreparation(database, _input_fetcher(context), queue_versions, input_folder, add_log_line)
    table = RunTable(context.worker)
    ends = RunEnds(table, writer, preparation.discard)
    ports = EnginePorts(
        writer=writer,
        needs_preparation=queue_versions.needs_preparation,
        tariff=queue_versions.tariff,
        prepare=preparation.prepare,
        upload=trainings.upload,
        discard_inputs=preparation.discard,
        publish_chunk=live_output.add,
        uploads_are_behind=lambda: uploader.is_behind,
    )
    engine = Engine(table, ends, ports)
    return RunParts(
        table=table,
        ends=ends,
        engine=engine,
        writer=writer,
        live_output=live_output,
        queue_versions=queue_versions,
        pulls=JobPulls(context.bus, table, engine),
        watchdog=Watchdog(table, ends, time_limit_s=config.time_limit_s, kill_after_s=config.kill_after_s),
    )


def _url_maker(context: Context) -> Callable[[str], str]:
    config = context.config

    def url_for(object_key: str) -> str:
        expires_at = int(now()) + CANCEL_AFTER_LIMIT_S + config.retention_s
        return delivery_url(context.key, context.public_urls.first, object_key, expires_at)

    return url_for


def _input_fetcher(context: Context) -> InputFetcher:
    return InputFetcher(
        context.database,
        context.objects,
        context.egress,
        public_urls=context.public_urls,
        delivery_key=lambda url: object_key_of_url([context.key], url, now()),
    )


def _instances(context: Context, local_store: LocalStore, runs: RunParts) -> InstanceParts:
    config, database, folders = context.config, context.database, local_store.folders
    allow = parse_setting("TIDEMILL_MODEL_NETWORK_ALLOW", AllowList.parse, config.model_network_allow)
    egress_proxies = EgressProxies(context.platform, allow)
    monitor = InstanceMonitor(
        disk_limit_bytes=config.instance_disk_bytes,
        health_every_s=config.health_every_s,
        disk_is_memory=usage.lies_in_memory(folders.root),
    )
    idle = IdleInstances(runs.table)
    gpus = GpuAssignments(discover(), idle_s=idle.idle_s, stop=idle.stop)
    ports = BootPorts(
        database=database,
        bundles=local_store.bundles,
        environments=local_store.environments,
        queue_versions=runs.queue_versions,
        priority_hints=runs.table.priority_hints,
        gpus=gpus,
        privileges=PrivilegeReader(database, context.key, context.policy),
        forks=ForkBuilder(local_store.zygotes, folders),
        folders=folders,
        egress_proxies=egress_proxies,
        monitor=monitor,
    )
    records = BootRecords(database, context.worker)
    manager = InstanceManager(
        runs.table,
        runs.engine,
        Booter(runs.engine, ports),
        Cleanup(gpus, egress_proxies, monitor, folders),
        records,
        capacity=config.instances,
        timeout_s=config.boot_timeout_s,
    )
    return InstanceParts(manager=manager, records=records, gpus=gpus, monitor=monitor, egress_proxies=egress_proxies)


def _versions(context: Context, local_store: LocalStore) -> VersionParts:
    config, database, bus = context.config, context.database, context.bus
    bundles, environments, zygotes = local_store.bundles, local_store.environments, local_store.zygotes

    async def announce_version(queue: str, account: str) -> None:
        with contextlib.suppress(nats.errors.Error):  # a hint: who misses it fetches the version at boot
            await bus.send(subjects.VERSION_CREATED, VersionCreated(queue=queue, account=account))

    inspector = SandboxedInspector(zygotes, context.home, context.policy.required, limit_s=config.import_limit_s)
    limit_bytes = config.cache_limit_bytes // 2
    return VersionParts(
        push_builder=PushBuilder(
            context.worker, database, bundles, environments, inspector, announce_version, at_once=config.builds
        ),
        prefetcher=Prefetcher(database, local_store.blobs, bundles, environments, zygotes, limit_bytes),
    )


def _handlers(context: Context, runs: RunParts, instances: InstanceParts, versions: VersionParts) -> Handlers:
    return Handlers(
        commands=CommandHandler(runs.table, instances.manager),
        cancels=CancelHandler(runs.table, runs.ends),
        versions=VersionHandler(versions.push_builder, versions.prefetcher, instances.manager),
        priorities=PriorityHandler(runs.table, context.database),
    )
