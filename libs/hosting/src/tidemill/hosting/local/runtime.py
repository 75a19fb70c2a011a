"""Runs models of directories on this machine, with the worker's environments, zygotes and sandbox, and no services.

Environments are kept in one directory and reused. An instance's own files are removed with it.
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
from tidemill.hosting.child.schema_check import GUESSED_WARNING, SchemaRefused, check_schema
from tidemill.hosting.child.zygotes import Zygotes
from tidemill.hosting.environments.installer import Installer, OnOutput
from tidemill.hosting.environments.store import Environment, EnvironmentFailed, Environments
from tidemill.hosting.local.frame_handler import LocalFrameHandler, PredictionObserver, PredictionResult
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

CANCEL_WITHIN_S: Final = 5.0  # then the child is killed; the worker's limit is the same
GONE_WITHIN_S: Final = 5.0
FIRST_UID: Final = 210_000  # above the UIDs of workers on the same machine
UIDS: Final = 10_000
FOLDER_MODE: Final = 0o755  # the child may run as another user
# Why a model cannot be loaded; each message is for its author.
LOAD_ERRORS: Final = (
    ConfigRefused,
    EnvironmentFailed,
    BootFailed,
    SchemaRefused,
    ForkRefusedError,
    ZygoteDiedError,
    OSError,
)


class InspectedModel(NamedTuple):
    """A model's OpenAPI document, and the warnings that a push would print."""

    schema: dict[str, Any]
    warnings: tuple[str, ...]


class LocalModel:
    """A loaded model. `schema` and `warnings` are those of InspectedModel."""

    def __init__(self, prepared: "_PreparedModel", handler: LocalFrameHandler, child: ChildProcess) -> None:
        self.schema, self.warnings = prepared.inspected
        self.concurrency = handler.ready.result().concurrency
        self.ended = handler.ended  # resolves to the reason when its process ends
        self._folder = prepared.folder
        self._handler = handler
        self._child = child

    def input_folder(self) -> Path:
        """Return a new folder for the files of an input, which the model can read."""
        folder = self._folder / "inputs" / new_id()
        folder.mkdir(mode=FOLDER_MODE)
        return folder

    async def run(self, identifier: str, value: dict[str, Any], observer: PredictionObserver) -> PredictionResult:
        """Run one prediction. File inputs are paths below an input_folder(). On cancel, stop the model, then raise."""
        ended = self._handler.start(identifier, observer)
        if self.ended.done():
            return PredictionResult(status="failed", error=f"The model's process has ended: {self.ended.result()}.")
        self._child.send(run_frame(identifier, msgspec.json.encode(value)))
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            await self._cancel(identifier, ended)
            raise

    async def _cancel(self, identifier: str, ended: asyncio.Future[PredictionResult]) -> None:
        """Ask the model to stop, and kill it after CANCEL_WITHIN_S."""
        self._child.cancel(identifier)
        done, _ = await asyncio.wait([ended], timeout=CANCEL_WITHIN_S)
        if not done:
            self._child.kill()
            await asyncio.wait([self.ended], timeout=GONE_WITHIN_S)


class LocalRuntime:
    """`home` keeps environments and interpreters between uses. Several processes may share it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._scratch = Scratch(home)
        # Source distributions are refused although this is the author's machine: a push would refuse them too.
        self._environments = Environments(home / "environments", Installer(home / "uv"), self._scratch)
        self._zygotes = Zygotes(home)
        self._egress_proxies = EgressProxies(Platform(()), AllowList())  # the public internet only, not this network

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._scratch.__enter__)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._zygotes.close()
        await self._environments.close()
        await asyncio.to_thread(self._scratch.__exit__, kind, error, traceback)

    async def inspect(self, directory: Path, paths: Iterable[str], say: OnOutput) -> InspectedModel:
        """Install and import the model as a push does, without setup(). Arguments and errors are those of `open`."""
        async with self._prepared(directory, paths, say) as prepared:
            return prepared.inspected

    @asynccontextmanager
    async def open(
        self, directory: Path, paths: Iterable[str], observer: PredictionObserver
    ) -> AsyncIterator[LocalModel]:
        """Load the model of `directory`, an absolute path without links, from its files `paths`.

        Install what it needs. `observer` gets what is printed meanwhile and what belongs to no prediction. Raise one of
        LOAD_ERRORS.
        """
        async with self._prepared(directory, paths, observer.on_log) as prepared:
            instance, hosts = prepared.folder.name, prepared.config.network_hosts or None
            handler = LocalFrameHandler(observer, partial(self._egress_proxies.open, instance, hosts))
            zygote = await self._zygotes.get(prepared.environment)
            child = await zygote.fork(prepared.spec(self._zygotes.runtime_paths()), prepared.boot(), handler)
            try:
                await handler.ready
                yield LocalModel(prepared, handler, child)
            finally:
                child.kill()
                await asyncio.wait([handler.ended], timeout=GONE_WITHIN_S)
                await self._egress_proxies.close(instance)

    @asynccontextmanager
    async def _prepared(self, directory: Path, paths: Iterable[str], say: OnOutput) -> "AsyncIterator[_PreparedModel]":
        parsed = await asyncio.to_thread(read_config, directory)
        environment = await self._environments.ensure(parsed.config, say)
        folder = self._scratch.fresh()
        originals = (directory, folder / "files")
        try:
            uid = await asyncio.to_thread(_make_folders, directory, sorted(paths), folder)
            inspector = SandboxedInspector(self._zygotes, self._home, required=(), also_read=originals)
            raw, _ = await inspector.inspect(folder / "src", environment, parsed.config)
            schema = check_schema(bytes(raw))
            guessed = () if schema.guessed is None else (GUESSED_WARNING.format(reason=schema.guessed),)
            warnings = (*parsed.warnings, *environment.warnings, *schema.warnings, *guessed)
            inspected = InspectedModel(msgspec.json.decode(schema.text), warnings)
            yield _PreparedModel(parsed.config, environment, folder, originals, uid, inspected)
        finally:
            await asyncio.to_thread(_remove, folder)


class _PreparedModel(NamedTuple):
    """What a boot needs."""

    config: ModelConfig
    environment: Environment
    folder: Path
    originals: tuple[Path, ...]  # the targets of links in its working directory: large files are not copied
    uid: int | None
    inspected: InspectedModel

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


def _make_folders(directory: Path, paths: list[str], folder: Path) -> int | None:
    """Make an instance's folders: `files` holds links to the model's files, `src` is made from it.

    Return the uid that owns `src`, or None for our own.
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
    """Remove an instance's folder. As root without chmod: a process of the model could swap a directory for a link."""
    if os.geteuid() == 0:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        remove_tree(folder)
