"""Boots an instance, from a version's row to a ready model: files, environment, GPUs, fork, import, set-up.

A boot that fails raises, and releases the version's files only; the instance manager releases the rest.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from tidemill.contracts.api.pushes import BundleFile
from tidemill.hosting.child.egress_proxies import EgressProxies
from tidemill.hosting.child.failures import BootFailed
from tidemill.hosting.child.frames import ReadyFrame
from tidemill.hosting.environments.store import Environment, Environments
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import Database, Row
from tidemill.runtime.telemetry import log
from tidemill.worker import store
from tidemill.worker.cache.bundles import BundleCache
from tidemill.worker.gpus import choice
from tidemill.worker.gpus.assignments import GpuAssignments
from tidemill.worker.instances import boot_phases
from tidemill.worker.instances.boot_phases import BootTimes
from tidemill.worker.instances.child_connection import ChildConnection, ConnectionOptions
from tidemill.worker.instances.folders import InstanceFolders
from tidemill.worker.instances.forks import ForkBuilder, ForkMaterials
from tidemill.worker.instances.managed_instance import ManagedInstance
from tidemill.worker.instances.memory_limits import data_limit, memory_limit
from tidemill.worker.instances.monitor import InstanceMonitor, MonitoredInstance
from tidemill.worker.instances.privileges import InstancePrivileges, PrivilegeReader
from tidemill.worker.runs.engine import Engine
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.priority_hints import PriorityHints
from tidemill.worker.runs.queue_versions import QueueVersions
from tidemill.worker.versions import guessed_schemas


class BootPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What a boot needs of the rest of the worker."""

    database: Database
    bundles: BundleCache
    environments: Environments
    queue_versions: QueueVersions
    priority_hints: PriorityHints
    gpus: GpuAssignments
    privileges: PrivilegeReader
    forks: ForkBuilder
    folders: InstanceFolders
    egress_proxies: EgressProxies
    monitor: InstanceMonitor


class BootVersion(NamedTuple):
    """The version to boot. `bundle` is its own queue, whose files the queues of deployments and trainings share."""

    row: Row
    bundle: str
    config: ModelConfig
    files: list[BundleFile]


class Booter:
    def __init__(self, engine: Engine, ports: BootPorts) -> None:
        self._engine = engine
        self._ports = ports

    async def boot(self, managed: ManagedInstance) -> ChildConnection:
        """Return when the model is ready. Raise one of `manager.BOOT_ERRORS`; the process is killed then."""
        instance, began = managed.instance, monotonic()
        version = await self._version(instance.queue)
        directory = await self._ports.bundles.acquire(version.bundle, version.files)
        fetched = monotonic()
        try:
            environment = await self._ports.environments.ensure(version.config)
            managed.environment = environment.digest  # in use from here on, also while the boot waits for a GPU
            built = monotonic()
            await self._prepare_queue(instance.queue, version.row)
            connection = await self._start(managed, version, directory, environment)
            ready = await _ready(managed, connection)
        except BaseException:
            managed.kill()
            self._ports.bundles.release(version.bundle)
            raise
        connection.ended.add_done_callback(lambda _: self._ports.bundles.release(version.bundle))
        await self._correct_schema(instance, version, bytes(ready.schema))
        instance.concurrency, instance.batched = ready.concurrency, ready.batch
        booted = boot_phases.phases(BootTimes(began, fetched, built, monotonic()), ready.phases)
        instance.boot, instance.boot_s = boot_phases.record(booted), boot_phases.repeated_s(booted)
        log().info("instance ready", action="boot", instance=instance.id, queue=instance.queue, seconds=booted)
        return connection

    async def _version(self, queue: str) -> BootVersion:
        row = await store.version(self._ports.database, queue)
        if row is None:
            raise BootFailed("the version does not exist any more")
        config = msgspec.json.decode(row["config"], type=ModelConfig)
        return BootVersion(row, row["queue"], config, msgspec.json.decode(row["files"], type=list[BundleFile]))

    async def _prepare_queue(self, queue: str, row: Row) -> None:
        """Provide what the queue's runs need to know: its inputs, its priorities, its price."""
        self._ports.queue_versions.add(queue, row)
        self._ports.priority_hints.note(queue, row["urgent"])
        await self._ports.queue_versions.read_tariff(queue)

    async def _start(
        self, managed: ManagedInstance, version: BootVersion, directory: Path, environment: Environment
    ) -> ChildConnection:
        """Gather what the child is given, and fork it."""
        instance, ports, sku = managed.instance, self._ports, version.row["hardware"]
        grant = await ports.gpus.assign(instance.id, choice.gpu_request(sku, asks=version.config.gpu))
        instance.gpus = tuple(device.uuid for device in grant.devices)
        instance.gpu_bytes = max(grant.bytes_each, default=0)
        if not grant.devices:  # CUDA reserves much memory that it never touches
            instance.data_limit_bytes = data_limit(sku, version.files)
        given = await ports.privileges.read(instance.queue, version.config)
        instance.about = given.about
        trains = ports.queue_versions.trains(instance.queue)
        materials = ForkMaterials(version.config, directory, environment, grant, given, trains)
        fork = await ports.forks.prepare(instance, materials)
        connection = managed.connection = self._connect(instance, given)
        child = instance.child = await fork.zygote.fork(fork.spec, fork.boot, connection)
        folder = ports.folders.of(instance.id)
        ports.monitor.watch(MonitoredInstance(instance, connection, child.pid, folder, memory_limit(sku), fork.own_uid))
        return connection

    def _connect(self, instance: Instance, given: InstancePrivileges) -> ChildConnection:
        confined = given.confined
        take = partial(self._ports.egress_proxies.open, instance.id, confined.hosts) if confined.way_out else None
        privileged = ConnectionOptions(tuple(given.secrets.values()), take)
        connection = ChildConnection(self._engine, instance, self._ports.monitor.fresh_kernel_kills, privileged)
        connection.note(confined.note)
        return connection

    async def _correct_schema(self, instance: Instance, version: BootVersion, schema: bytes) -> None:
        """Correct a guessed schema by that of the loaded model. Which inputs are files may change with it."""
        if not version.config.guessed or schema == b"null":
            return
        if await guessed_schemas.correct(self._ports.database, version.bundle, version.config, schema):
            row = await store.version(self._ports.database, instance.queue)
            if row is not None:
                self._ports.queue_versions.add(instance.queue, row)


async def _ready(managed: ManagedInstance, connection: ChildConnection) -> ReadyFrame:
    try:
        return await connection.ready
    except BootFailed as error:
        raise BootFailed(managed.with_boot_log(str(error))) from None
