"""Boots and stops of instances, on the scheduler's word. A boot is: files, environment, fork, import, set-up."""

import asyncio
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from tidemill.contracts.api import BundleFile
from tidemill.contracts.events import Boot, Command, CommandReply, QueueRemoved, Urgent
from tidemill.contracts.hardware import HARDWARE
from tidemill.hosting.cogyaml import ModelConfig
from tidemill.hosting.environments import Environment, EnvironmentFailed, Environments
from tidemill.hosting.failures import BootFailed
from tidemill.hosting.frames import Ready
from tidemill.hosting.scratch import remove_tree
from tidemill.hosting.ways_out import WaysOut
from tidemill.hosting.zygotes import Zygotes
from tidemill.model import host, working_directory
from tidemill.model.host import ForkRefusedError, ZygoteDiedError
from tidemill.model.limits import Limits
from tidemill.model.sandbox import LAYERS, Sandbox
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import AWAY, Database
from tidemill.runtime.telemetry import log
from tidemill.security.bundle_paths import BundleError
from tidemill.worker import store
from tidemill.worker.cache.blobs import BlobUnavailable
from tidemill.worker.cache.bundles import Bundles
from tidemill.worker.gpus import choice
from tidemill.worker.gpus.assignments import GpuAssignments, NoSuchGpu
from tidemill.worker.gpus.devices import Gpus
from tidemill.worker.instances import boot_phases
from tidemill.worker.instances.boot_phases import Moments
from tidemill.worker.instances.boot_records import BootRecords
from tidemill.worker.instances.crashes import CrashHistory
from tidemill.worker.instances.link import Link, Privileged
from tidemill.worker.instances.privileges import Privileges
from tidemill.worker.instances.redaction import Redactor
from tidemill.worker.instances.watching import Watched, Watcher
from tidemill.worker.runs import store_turns
from tidemill.worker.runs.engine import Engine
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.queues import Queues
from tidemill.worker.versions import guesses

FAILED_SHOWN_S: Final = 15.0  # a failed instance stays in the heartbeat so that the scheduler learns why
SHOWN_LOG_CHARS: Final = 1500  # of the set-up's log, with the error
GONE_WITHIN_S: Final = 5.0  # a killed process is reaped in milliseconds; its files may then be removed
FIRST_UID: Final = 200_000  # above system users and ordinary ones; one for each instance
UIDS: Final = 10_000
REASONS: Final = (
    BootFailed,
    BundleError,
    BlobUnavailable,
    EnvironmentFailed,
    ForkRefusedError,
    NoSuchGpu,
    ZygoteDiedError,
    TimeoutError,
    OSError,
    *AWAY,
)


class Boots:
    """Owns instances from the command to the end of their process."""

    def __init__(  # noqa: PLR0917 - the parts of a boot, wired once in main
        self,
        engine: Engine,
        database: Database,
        bundles: Bundles,
        environments: Environments,
        zygotes: Zygotes,
        queues: Queues,
        *,
        home: Path,
        capacity: int,
        timeout_s: float,
        privileges: Privileges,
        ways_out: WaysOut,
        watcher: Watcher,
        machine: Gpus,
    ) -> None:
        self._engine = engine
        self._database = database
        self._bundles = bundles
        self._environments = environments
        self._zygotes = zygotes
        self._queues = queues
        self._home = home / "instances"
        self._capacity = capacity
        self._timeout_s = timeout_s
        self._privileges = privileges
        self._ways_out = ways_out
        self._next_uid = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._environments_of: dict[str, str] = {}  # digests by instance
        self._links: dict[str, Link] = {}
        self._watcher = watcher
        self._crashes = CrashHistory()
        self._records = BootRecords(database)
        self.gpus = GpuAssignments(machine, idle_s=self._idle_s, stop=self._make_room)
        self.changed = asyncio.Event()

    def _instances(self) -> dict[str, Instance]:
        return {key: one for lane in self._engine.lanes.values() for key, one in lane.instances.items()}

    async def obey(self, command: Command) -> CommandReply:
        """Idempotent by instance."""
        instances = self._instances()
        known = instances.get(command.instance)
        if not isinstance(command, Boot):
            if known is not None:
                self._stop(known)
            return CommandReply(accepted=True)
        if known is not None:
            return CommandReply(accepted=True)
        if self._engine.draining:
            return CommandReply(accepted=False, reason="the worker is draining")
        if sum(one.state != "failed" for one in instances.values()) >= self._capacity:
            return CommandReply(accepted=False, reason="the worker is full")
        instance = Instance(command.instance, command.queue, monotonic())
        self._engine.lane(command.queue).instances[instance.id] = instance
        self._tasks[instance.id] = asyncio.create_task(self._live(instance), name=f"instance {instance.id}")
        return CommandReply(accepted=True)

    async def removed(self, event: QueueRemoved) -> None:
        """The queue's version was deleted: its instances end when they have finished what they run."""
        for instance in self._instances().values():
            if instance.queue == event.queue:
                self._stop(instance)

    async def urgent(self, event: Urgent) -> None:
        """What waits for an instance that is still to come is read from the rows when it boots."""
        lane = self._engine.lanes.get(event.queue)
        if lane is not None and lane.instances:
            self._engine.turns.note(event.queue, [event.account])

    async def look_for_urgent(self) -> None:
        """The bus was away, and what it would have told with it."""
        queues = list({instance.queue for instance in self._instances().values()})
        try:
            found = await store_turns.contested(self._database, queues)
        except AWAY as error:  # hints with a priority say it too, only later
            log().warning("cannot look for priorities", action="turn", error=str(error))
            return
        for queue, account in found:
            self._engine.turns.note(queue, [account])

    def environments_in_use(self) -> frozenset[str]:
        return frozenset(self._environments_of.values())

    def _idle_s(self, identifier: str) -> float | None:
        """None while the instance must not stop for another's sake."""
        instance = self._instances().get(identifier)
        if instance is None or instance.state != "ready" or instance.runs:
            return None
        return monotonic() - instance.idle_since

    def _make_room(self, identifier: str) -> None:
        instance = self._instances().get(identifier)
        if instance is not None:
            self._stop(instance)

    def _stop(self, instance: Instance) -> None:
        if instance.state == "ready":
            instance.drain()
        elif instance.state == "booting":
            self._tasks[instance.id].cancel()

    async def _live(self, instance: Instance) -> None:
        """One instance from first to last."""
        self.changed.set()
        try:
            await asyncio.sleep(self._crashes.wait_s(instance.queue, monotonic()))
            async with asyncio.timeout(self._timeout_s):
                ended = await self._boot(instance)
        except REASONS as error:
            if instance.child is not None:
                instance.child.kill()
            self._fail(instance, str(error) or self._took_too_long(instance))
            await self._records.booted(instance, self._printed(instance))
            await self._give_gpus_back(instance)
            await asyncio.sleep(FAILED_SHOWN_S)
        except asyncio.CancelledError:
            if instance.child is not None:
                instance.child.kill()
            raise
        else:
            self._engine.ready(instance)
            self.changed.set()
            await self._records.booted(instance, self._printed(instance))
            await ended
            crash = self._links[instance.id].crash
            self._crashes.ended(instance.queue, monotonic(), crashed=crash is not None, finished=instance.finished)
            if crash is not None:
                await self._records.crashed(instance, crash)
        finally:
            self._engine.lane(instance.queue).instances.pop(instance.id, None)
            self._tasks.pop(instance.id, None)
            self._environments_of.pop(instance.id, None)
            await self._clear(instance)
            self.gpus.release(instance.id)
            self.changed.set()

    async def _give_gpus_back(self, instance: Instance) -> None:
        """A boot that failed is shown for a while; others need not wait for it."""
        link = self._links.get(instance.id)
        if link is not None and instance.child is not None:
            await asyncio.wait([link.ended], timeout=GONE_WITHIN_S)
        self.gpus.release(instance.id)

    async def _clear(self, instance: Instance) -> None:
        """Removes what the instance wrote, once nobody is left to write more."""
        self._watcher.forget(instance.id)
        await self._ways_out.close(instance.id)
        link = self._links.pop(instance.id, None)
        if link is not None and instance.child is not None:
            await asyncio.wait([link.ended], timeout=GONE_WITHIN_S)
        # Root passes through what a model closed; changing modes could follow a link that a process it left just made.
        remove = _remove if os.geteuid() == 0 else remove_tree
        await asyncio.to_thread(remove, self._home / instance.id)

    def _took_too_long(self, instance: Instance) -> str:
        return f"it took longer than {self._timeout_s:g} s\n{self._printed(instance)[-SHOWN_LOG_CHARS:]}".strip()

    def _printed(self, instance: Instance) -> str:
        link = self._links.get(instance.id)
        return "" if link is None else link.log

    async def _boot(self, instance: Instance) -> asyncio.Future[None]:
        """Returns when the model is ready; the future ends with the process."""
        started = monotonic()
        row = await store.version(self._database, instance.queue)
        if row is None:
            raise BootFailed("the version does not exist any more")
        config = msgspec.json.decode(row["config"], type=ModelConfig)
        files = msgspec.json.decode(row["files"], type=list[BundleFile])
        bundle = row["queue"]  # the version's: releases of deployments and trainings share its files
        directory = await self._bundles.acquire(bundle, files)
        fetched = monotonic()
        try:
            environment = await self._environments.ensure(config)
            built = monotonic()
            self._queues.learn(instance.queue, row)
            self._engine.turns.note(instance.queue, row["urgent"])
            await self._queues.price(instance.queue)
            grant = await self.gpus.assign(instance.id, choice.wish(row["hardware"], asks=config.gpu))
            instance.gpus = tuple(device.uuid for device in grant.devices)
            if not grant.devices:  # CUDA reserves much that it never touches
                instance.data_limit_bytes = _data_limit(row["hardware"], files)
            link, child = await self._fork(instance, config, directory, environment, grant)
            instance.child = child
            watched = Watched(instance, link, child.pid, self._home / instance.id, _memory_limit(row["hardware"]))
            self._watcher.watch(watched)
            ready = await _ready(link)
        except BaseException:
            if instance.child is not None:
                instance.child.kill()
            self._bundles.release(bundle)
            raise
        link.ended.add_done_callback(lambda _: self._bundles.release(bundle))
        if config.guessed and bytes(ready.schema) != b"null":
            await self._correct(instance, bundle, config, bytes(ready.schema))
        instance.concurrency, instance.batched = ready.concurrency, ready.batch
        booted = boot_phases.phases(Moments(started, fetched, built, monotonic()), ready.phases)
        instance.boot = boot_phases.record(booted)
        log().info("instance ready", action="boot", instance=instance.id, queue=instance.queue, seconds=booted)
        return link.ended

    async def _correct(self, instance: Instance, bundle: str, config: ModelConfig, schema: bytes) -> None:
        """Which of its inputs are files may be something else by now."""
        if await guesses.correct(self._database, bundle, config, schema):
            row = await store.version(self._database, instance.queue)
            if row is not None:
                self._queues.learn(instance.queue, row)

    async def _fork(
        self, instance: Instance, config: ModelConfig, directory: Path, environment: Environment, grant: choice.Grant
    ) -> tuple[Link, host.ChildProcess]:
        self._environments_of[instance.id] = environment.digest
        given = await self._privileges.given(instance.queue, config)
        confined, instance.about = given.confined, given.about
        zygote = await self._zygotes.get(environment)
        tmp, inputs, work = (self._home / instance.id / name for name in ("tmp", "inputs", "src"))
        await asyncio.to_thread(_make, tmp, inputs)
        read = (str(directory), str(inputs), *map(str, environment.read_paths), *self._zygotes.runtime_paths())
        self._next_uid = (self._next_uid + 1) % UIDS
        uid = FIRST_UID + self._next_uid
        await asyncio.to_thread(working_directory.make, directory, work, uid if os.geteuid() == 0 else None)
        sandbox = Sandbox(
            tmp=str(tmp),
            work=str(work),
            read=read,
            devices=grant.files,
            uid=uid,
            layers=LAYERS,
            required=confined.required,
            way_out=confined.way_out,
            limits=Limits(data_bytes=instance.data_limit_bytes),
        )
        spec = host.Spec(sandbox=sandbox, env={**dict(config.environment), **grant.environment})
        boot = host.Boot(
            entry=config.entry,
            directory=str(work),
            tmp=str(tmp),
            weights=None if config.weights is None else str(directory / config.weights),
            concurrency=config.concurrency,
            secrets=given.secrets,
            site=None if environment.site is None else str(environment.site),
            train_entry=config.train_entry,
            tell_schema=config.guessed,
        )
        if self._queues.trains(instance.queue):
            boot = _training(boot, config)
        take = partial(self._ways_out.open, instance.id, confined.hosts) if confined.way_out else None
        privileged = Privileged(Redactor(given.secrets.values()), take)
        link = self._links[instance.id] = Link(self._engine, instance, self._watcher.fresh_kernel_kills, privileged)
        link.note(confined.note)
        return link, await zygote.fork(spec, boot, link)

    def _fail(self, instance: Instance, error: str) -> None:
        log().warning("boot failed", action="boot", instance=instance.id, queue=instance.queue, error=error)
        instance.state, instance.error = "failed", error[:2000]
        self._engine.lane(instance.queue).instances[instance.id] = instance  # gone() may have taken it away
        self.changed.set()

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._zygotes.close()
        await self._ways_out.close_all()


def _memory_limit(sku: str) -> int | None:
    hardware = HARDWARE.get(sku)
    return None if hardware is None else hardware.memory_bytes


def _data_limit(sku: str, files: Sequence[BundleFile]) -> int | None:
    """What the kernel lets the process have, so that its allocations fail before it is ended for what it uses.

    Weights that are mapped to be changed privately count, and use memory only where they are changed.
    """
    limit = _memory_limit(sku)
    return None if limit is None else limit + sum(file.size for file in files)


def _training(boot: host.Boot, config: ModelConfig) -> host.Boot:
    if config.train_entry is None:
        raise BootFailed("the version has no train function")
    return replace(boot, mode="train", entry=config.train_entry, concurrency=None)


async def _ready(link: Link) -> Ready:
    try:
        return await link.ready
    except BootFailed as error:
        raise BootFailed(f"{error}\n{link.log[-SHOWN_LOG_CHARS:]}".strip()) from None


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _make(*folders: Path) -> Any:
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
