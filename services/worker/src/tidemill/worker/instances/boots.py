"""A boot, from a version's row to a ready model: files, environment, GPUs, fork, import, set-up.

It gives up with an error and leaves what it took to whoever owns the instance; only the files it gives back itself.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from tidemill.contracts.api.pushes import BundleFile
from tidemill.hosting.cogyaml import ModelConfig
from tidemill.hosting.environments import Environment, Environments
from tidemill.hosting.failures import BootFailed
from tidemill.hosting.frames import Ready
from tidemill.hosting.ways_out import WaysOut
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import Database, Row
from tidemill.runtime.telemetry import log
from tidemill.worker import store
from tidemill.worker.cache.bundles import Bundles
from tidemill.worker.gpus import choice
from tidemill.worker.gpus.assignments import GpuAssignments
from tidemill.worker.instances import boot_phases
from tidemill.worker.instances.boot_phases import Moments
from tidemill.worker.instances.folders import Folders
from tidemill.worker.instances.forks import Forks, Materials
from tidemill.worker.instances.life import Life
from tidemill.worker.instances.link import Link, Privileged
from tidemill.worker.instances.memory_limits import data_limit, memory_limit
from tidemill.worker.instances.privileges import Given, Privileges
from tidemill.worker.instances.watching import Watched, Watcher
from tidemill.worker.runs.engine import Engine
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.queues import Queues
from tidemill.worker.versions import guesses


class BootPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What a boot asks of the rest of the worker, in the order in which it does."""

    database: Database
    bundles: Bundles
    environments: Environments
    queues: Queues
    gpus: GpuAssignments
    privileges: Privileges
    forks: Forks
    folders: Folders
    ways_out: WaysOut
    watcher: Watcher


class Version(NamedTuple):
    """What is booted. `bundle` is the version's own queue: releases of deployments and trainings share its files."""

    row: Row
    bundle: str
    config: ModelConfig
    files: list[BundleFile]


class Boots:
    def __init__(self, engine: Engine, ports: BootPorts) -> None:
        self._engine = engine
        self._ports = ports

    async def boot(self, life: Life) -> Link:
        """Returns when the model is ready. Raises what `lives.REASONS` names; the process is killed then."""
        instance, began = life.instance, monotonic()
        version = await self._version(instance.queue)
        directory = await self._ports.bundles.acquire(version.bundle, version.files)
        fetched = monotonic()
        try:
            environment = await self._ports.environments.ensure(version.config)
            life.environment = environment.digest  # in use from here on, also while it waits for a GPU
            built = monotonic()
            await self._learn(instance.queue, version.row)
            link = await self._start(life, version, directory, environment)
            ready = await _ready(life, link)
        except BaseException:
            life.kill()
            self._ports.bundles.release(version.bundle)
            raise
        link.ended.add_done_callback(lambda _: self._ports.bundles.release(version.bundle))
        await self._correct(instance, version, bytes(ready.schema))
        instance.concurrency, instance.batched = ready.concurrency, ready.batch
        booted = boot_phases.phases(Moments(began, fetched, built, monotonic()), ready.phases)
        instance.boot, instance.boot_s = boot_phases.record(booted), boot_phases.repeated_s(booted)
        log().info("instance ready", action="boot", instance=instance.id, queue=instance.queue, seconds=booted)
        return link

    async def _version(self, queue: str) -> Version:
        row = await store.version(self._ports.database, queue)
        if row is None:
            raise BootFailed("the version does not exist any more")
        config = msgspec.json.decode(row["config"], type=ModelConfig)
        return Version(row, row["queue"], config, msgspec.json.decode(row["files"], type=list[BundleFile]))

    async def _learn(self, queue: str, row: Row) -> None:
        """What the runs of the queue must know."""
        self._ports.queues.learn(queue, row)
        self._engine.turns.note(queue, row["urgent"])
        await self._ports.queues.price(queue)

    async def _start(self, life: Life, version: Version, directory: Path, environment: Environment) -> Link:
        """Gathers what the child is given, and forks it."""
        instance, ports, sku = life.instance, self._ports, version.row["hardware"]
        grant = await ports.gpus.assign(instance.id, choice.wish(sku, asks=version.config.gpu))
        instance.gpus = tuple(device.uuid for device in grant.devices)
        instance.gpu_bytes = max(grant.bytes_each, default=0)
        if not grant.devices:  # CUDA reserves much that it never touches
            instance.data_limit_bytes = data_limit(sku, version.files)
        given = await ports.privileges.given(instance.queue, version.config)
        instance.about = given.about
        trains = ports.queues.trains(instance.queue)
        materials = Materials(version.config, directory, environment, grant, given, trains)
        fork = await ports.forks.prepare(instance, materials)
        link = life.link = self._linked(instance, given)
        child = instance.child = await fork.zygote.fork(fork.spec, fork.boot, link)
        folder = ports.folders.of(instance.id)
        ports.watcher.watch(Watched(instance, link, child.pid, folder, memory_limit(sku), fork.own_uid))
        return link

    def _linked(self, instance: Instance, given: Given) -> Link:
        confined = given.confined
        take = partial(self._ports.ways_out.open, instance.id, confined.hosts) if confined.way_out else None
        privileged = Privileged(tuple(given.secrets.values()), take)
        link = Link(self._engine, instance, self._ports.watcher.fresh_kernel_kills, privileged)
        link.note(confined.note)
        return link

    async def _correct(self, instance: Instance, version: Version, schema: bytes) -> None:
        """Which of its inputs are files may be something else by now."""
        if not version.config.guessed or schema == b"null":
            return
        if await guesses.correct(self._ports.database, version.bundle, version.config, schema):
            row = await store.version(self._ports.database, instance.queue)
            if row is not None:
                self._ports.queues.learn(instance.queue, row)


async def _ready(life: Life, link: Link) -> Ready:
    try:
        return await link.ready
    except BootFailed as error:
        raise BootFailed(life.explained(str(error))) from None
