"""Prepares the fork of a child: its zygote, folders and sandbox, and the boot frame that it is sent."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from tidemill.hosting.child.failures import BootFailed
from tidemill.hosting.child.zygotes import Zygotes
from tidemill.hosting.environments.store import Environment
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.model.host.zygote_process import ZygoteProcess
from tidemill.model.sandbox.limits import ResourceLimits
from tidemill.model.sandbox.settings import LAYERS, Sandbox
from tidemill.model.wire.spec import BootFrame, ChildSpec
from tidemill.worker.gpus.choice import GpuGrant
from tidemill.worker.instances.folders import InstanceFolders, InstancePaths
from tidemill.worker.instances.privileges import InstancePrivileges
from tidemill.worker.runs.instance import Instance

FIRST_UID: Final = 200_000  # above system and ordinary users; each instance has a uid of its own
UIDS: Final = 10_000


class ForkMaterials(NamedTuple):
    """What a boot has gathered for the child. `directory` holds the version's files; `trains`: it runs train()."""

    config: ModelConfig
    directory: Path
    environment: Environment
    grant: GpuGrant
    given: InstancePrivileges
    trains: bool


class PreparedFork(NamedTuple):
    zygote: ZygoteProcess
    spec: ChildSpec
    boot: BootFrame

    @property
    def own_uid(self) -> int | None:
        """The child's own uid; None if the worker is not root."""
        return self.spec.sandbox.uid if os.geteuid() == 0 else None


class ForkBuilder:
    def __init__(self, zygotes: Zygotes, folders: InstanceFolders) -> None:
        self._zygotes = zygotes
        self._folders = folders
        self._next_uid = 0

    async def prepare(self, instance: Instance, materials: ForkMaterials) -> PreparedFork:
        """Raise BootFailed, ZygoteDiedError or OSError."""
        zygote = await self._zygotes.get(materials.environment)
        self._next_uid = (self._next_uid + 1) % UIDS
        uid = FIRST_UID + self._next_uid
        paths = await asyncio.to_thread(self._folders.make, instance.id, materials.directory, uid)
        sandbox = self._sandbox(instance, materials, paths, uid)
        environment = {**dict(materials.config.environment), **materials.grant.environment}
        return PreparedFork(zygote, ChildSpec(sandbox=sandbox, env=environment), boot_of(materials, paths))

    def _sandbox(self, instance: Instance, materials: ForkMaterials, paths: InstancePaths, uid: int) -> Sandbox:
        outside = (materials.directory, paths.inputs, *materials.environment.read_paths)
        confined = materials.given.confined
        return Sandbox(
            tmp=str(paths.tmp),
            work=str(paths.work),
            read=(*map(str, outside), *self._zygotes.runtime_paths()),
            devices=materials.grant.files,
            uid=uid,
            layers=LAYERS,
            required=confined.required,
            way_out=confined.way_out,
            limits=ResourceLimits(data_bytes=instance.data_limit_bytes),
        )


def boot_of(materials: ForkMaterials, paths: InstancePaths) -> BootFrame:
    """Return the frame that the child is sent. Raise BootFailed for a training of a model without train()."""
    config, site = materials.config, materials.environment.site
    boot = BootFrame(
        entry=config.entry,
        directory=str(paths.work),
        tmp=str(paths.tmp),
        weights=None if config.weights is None else str(materials.directory / config.weights),
        concurrency=config.concurrency,
        secrets=materials.given.secrets,
        site=None if site is None else str(site),
        train_entry=config.train_entry,
        tell_schema=config.guessed,
    )
    if not materials.trains:
        return boot
    if config.train_entry is None:
        raise BootFailed("the version has no train function")
    return replace(boot, mode="train", entry=config.train_entry, concurrency=None)
