"""Models of directories, run on this machine for their authors: the worker's environments, zygotes and sandbox, and no
services. What is built is kept in one directory and used again; an instance's own files go with it.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from secrets import randbelow
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import msgspec

from tidemill.contracts.ids import new_id
from tidemill.hosting.child.egress_proxies import EgressProxies
from tidemill.hosting.child.failures import BootFailed
from tidemill.hosting.child.frames import run_frame
from tidemill.hosting.child.inspection import SandboxedInspector
from tidemill.hosting.child.schema_check import GUESSED_WARNING, SchemaRefused, check
from tidemill.hosting.child.zygotes import Zygotes
from tidemill.hosting.environments.installer import Installer, Say
from tidemill.hosting.environments.store import Environment, EnvironmentFailed, Environments
from tidemill.hosting.local.frame_handler import Audience, Conversation, Ended
from tidemill.hosting.model_config.cog_yaml import ConfigRefused, ModelConfig
from tidemill.hosting.model_config.directory import read_config
from tidemill.hosting.scratch import Scratch, remove_tree
from tidemill.model.host import working_directory
from tidemill.model.host.child_process import ChildProcess
from tidemill.model.host.zygote_process import ForkRefusedError, ZygoteDiedError
from tidemill.model.sandbox.settings import Sandbox
from tidemill.model.wire.spec import BootFrame, ChildSpec
from tidemill.runtime.platform import Platform
from tidemill.security.egress.policy import AllowList

CANCEL_WITHIN_S: Final = 5.0  # then the child is killed, as the worker does
GONE_WITHIN_S: Final = 5.0
FIRST_UID: Final = 210_000  # above the workers' own on the same machine
UIDS: Final = 10_000
FOLDER_MODE: Final = 0o755  # the child may run under a uid of its own
# Why a model does not come up; each message is for its author.
REASONS: Final = (
    ConfigRefused,
    EnvironmentFailed,
    BootFailed,
    SchemaRefused,
    ForkRefusedError,
    ZygoteDiedError,
    OSError,
)


class Inspected(NamedTuple):
    """An OpenAPI document, and what a push would warn of."""

    schema: dict[str, Any]
    warnings: tuple[str, ...]


class LocalModel:
    """A model that is loaded. `schema` and `warnings` are those of Inspected."""

    def __init__(self, parts: "_Parts", heard: Conversation, child: ChildProcess) -> None:
        self.schema, self.warnings = parts.inspected
        self.concurrency = heard.ready.result().concurrency
        self.ended = heard.ended  # with how, when its process has gone
        self._folder = parts.folder
        self._heard = heard
        self._child = child

    def input_folder(self) -> Path:
        """A fresh folder for the files of an input, which the model can read."""
        folder = self._folder / "inputs" / new_id()
        folder.mkdir(mode=FOLDER_MODE)
        return folder

    async def run(self, identifier: str, value: dict[str, Any], audience: Audience) -> Ended:
        """File inputs are paths below an input_folder(). Canceled, it stops the model before it raises."""
        ended = self._heard.begin(identifier, audience)
        if self.ended.done():
            return Ended(status="failed", error=f"The model's process has ended: {self.ended.result()}.")
        self._child.send(run_frame(identifier, msgspec.json.encode(value)))
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            await self._cancel(identifier, ended)
            raise

    async def _cancel(self, identifier: str, ended: asyncio.Future[Ended]) -> None:
        """Cooperative first, then by force."""
        self._child.cancel(identifier)
        done, _ = await asyncio.wait([ended], timeout=CANCEL_WITHIN_S)
        if not done:
            self._child.kill()
            await asyncio.wait([self.ended], timeout=GONE_WITHIN_S)


class Workbench:
    """`home` keeps environments and interpreters between uses, also by several processes at a time."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._scratch = Scratch(home)
        # Building a source distribution runs its author's code: on the author's own machine that is their business,
        # but a push would refuse it, and here is where to learn that.
        self._environments = Environments(home / "environments", Installer(home / "uv"), self._scratch)
        self._zygotes = Zygotes(home)
        self._egress_proxies = EgressProxies(
            Platform(()), AllowList()
        )  # the public internet, and nothing of this network

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._scratch.__enter__)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._zygotes.close()
        await self._environments.close()
        await asyncio.to_thread(self._scratch.__exit__, kind, error, traceback)

    async def inspect(self, directory: Path, paths: Iterable[str], say: Say) -> Inspected:
        """As a push does it: installed and imported, but not set up. Arguments and errors are those of `open`."""
        async with self._prepared(directory, paths, say) as parts:
            return parts.inspected

    @asynccontextmanager
    async def open(self, directory: Path, paths: Iterable[str], audience: Audience) -> AsyncIterator[LocalModel]:
        """The model of `directory`, an absolute path without links. It is given the files `paths` of it.

        Installs what it needs and loads it; `audience` hears what is said meanwhile, and what is of no prediction.
        Raises one of REASONS.
        """
        async with self._prepared(directory, paths, audience.on_log) as parts:
            instance, hosts = parts.folder.name, parts.config.network_hosts or None
            heard = Conversation(audience, partial(self._egress_proxies.open, instance, hosts))
            zygote = await self._zygotes.get(parts.environment)
            child = await zygote.fork(parts.spec(self._zygotes.runtime_paths()), parts.boot(), heard)
            try:
                await heard.ready
                yield LocalModel(parts, heard, child)
            finally:
                child.kill()
                await asyncio.wait([heard.ended], timeout=GONE_WITHIN_S)
                await self._egress_proxies.close(instance)

    @asynccontextmanager
    async def _prepared(self, directory: Path, paths: Iterable[str], say: Say) -> "AsyncIterator[_Parts]":
        parsed = await asyncio.to_thread(read_config, directory)
        environment = await self._environments.ensure(parsed.config, say)
        folder = self._scratch.fresh()
        originals = (directory, folder / "files")
        try:
            uid = await asyncio.to_thread(_lay_out, directory, sorted(paths), folder)
            inspector = SandboxedInspector(self._zygotes, self._home, required=(), also_read=originals)
            raw, _ = await inspector.inspect(folder / "src", environment, parsed.config)
            schema = check(bytes(raw))
            guessed = () if schema.guessed is None else (GUESSED_WARNING.format(reason=schema.guessed),)
            warnings = (*parsed.warnings, *environment.warnings, *schema.warnings, *guessed)
            inspected = Inspected(msgspec.json.decode(schema.text), warnings)
            yield _Parts(parsed.config, environment, folder, originals, uid, inspected)
        finally:
            await asyncio.to_thread(_remove, folder)


class _Parts(NamedTuple):
    """What a boot is made of."""

    config: ModelConfig
    environment: Environment
    folder: Path
    originals: tuple[Path, ...]  # where links in its working directory lead: what is large is not copied
    uid: int | None
    inspected: Inspected

    def spec(self, runtime: Iterable[str]) -> ChildSpec:
        read = (*self.originals, self.folder / "inputs", *self.environment.read_paths)
        sandbox = Sandbox(
            tmp=str(self.folder / "tmp"),
            work=str(self.folder / "src"),
            read=(*map(str, read), *runtime),
            uid=self.uid,
            required=(),
            way_out=self.config.network,
        )
        return ChildSpec(sandbox=sandbox, env=dict(self.config.environment))

    def boot(self) -> BootFrame:
        site = self.environment.site
        return BootFrame(
            entry=self.config.entry,
            directory=str(self.folder / "src"),
            tmp=str(self.folder / "tmp"),
            concurrency=self.config.concurrency,
            site=None if site is None else str(site),
        )


def _lay_out(directory: Path, paths: list[str], folder: Path) -> int | None:
    """The folders of an instance: `files` holds links to what belongs to the model, `src` is made of it.

    Answers whom `src` belongs to, where that is not ourselves.
    """
    for name in ("tmp", "inputs", "files"):
        (folder / name).mkdir(mode=FOLDER_MODE, parents=True)
    for path in paths:
        link = folder / "files" / path
        link.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        link.symlink_to(directory / path)
    uid = FIRST_UID + randbelow(UIDS) if os.geteuid() == 0 else None
    working_directory.make(folder / "files", folder / "src", uid)
    return uid


def _remove(folder: Path) -> None:
    """Root passes through what a model closed; changing modes could follow a link that a process it left just made."""
    if os.geteuid() == 0:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        remove_tree(folder)
