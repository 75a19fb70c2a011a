"""Makes versions of pushed files: fetch, check cog.yaml, build the environment, import the model for its schema.

An error fails the push with its reason and creates nothing. What was built stays in this worker's cache.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from tidemill.contracts.api.pushes import BundleFile
from tidemill.contracts.bundle import bundle_digest, version_id
from tidemill.contracts.ids import new_id
from tidemill.hosting.child.failures import BootFailed
from tidemill.hosting.child.schema_check import SchemaRefused, check_schema
from tidemill.hosting.environments.store import Environment, EnvironmentFailed, Environments
from tidemill.hosting.model_config.cog_yaml import ConfigRefused, ModelConfig
from tidemill.hosting.model_config.directory import read_config
from tidemill.runtime.db import TRANSIENT_ERRORS, Database, Row, retry_transient
from tidemill.runtime.telemetry import log
from tidemill.security.bundle_paths import BundleError
from tidemill.worker.cache.blobs import BlobUnavailable
from tidemill.worker.cache.bundles import BundleCache
from tidemill.worker.versions import guessed_schemas, push_store
from tidemill.worker.versions.push_log import PushLog
from tidemill.worker.versions.push_store import NewVersion, PushSuccess

POLL_EVERY_S: Final = 5.0  # for pushes whose hint was lost, and pushes of workers that died
BUILD_LIMIT_S: Final = 3600.0  # fetching 20 GiB and installing torch take minutes each on a slow link
ATTEMPTS: Final = 2  # a push that has killed two workers would kill a third
COG_VERSION: Final = "0.16.0"  # the generation of Cog's API that our module speaks; clients read it

BUILD_ERRORS: Final = (BundleError, BlobUnavailable, ConfigRefused, EnvironmentFailed, BootFailed, SchemaRefused)


class VersionIdentity(NamedTuple):
    """The queue and id of the new version, and the digest of its files."""

    queue: str
    id: str
    digest: str


class Inspector(Protocol):
    """Imports a model in the sandbox and reads its schema."""

    async def inspect(
        self, directory: Path, environment: Environment, config: ModelConfig, *, trusted: bool
    ) -> tuple[msgspec.Raw, str]:
        """Return the OpenAPI document and what was printed. Raise BootFailed."""
        ...


# Tells other workers of a new version: its queue, and the account that pushed it.
Announce = Callable[[str, str], Awaitable[None]]


class PushBuilder:
    """Builds `at_once` pushes at a time, so that a slow one holds up its own account only."""

    def __init__(  # noqa: PLR0917 - the parts of it, wired once in main
        self,
        worker: str,
        database: Database,
        bundles: BundleCache,
        environments: Environments,
        inspector: Inspector,
        announce: Announce,
        *,
        at_once: int = 1,
    ) -> None:
        self._worker = worker
        self._database = database
        self._bundles = bundles
        self._environments = environments
        self._inspector = inspector
        self._announce = announce
        self._free = asyncio.Semaphore(at_once)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look for a waiting push now."""
        self._wake.set()

    async def run(self) -> None:
        """Named task."""
        try:
            async with asyncio.TaskGroup() as builds:
                while True:
                    await self._free.acquire()
                    row = await self._next()
                    builds.create_task(self._build_one(row), name=f"build {row['id']}")
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _next(self) -> Row:
        """Wait for the next push, and claim it."""
        while True:
            self._wake.clear()
            row = await self._claim()
            if row is not None:
                return row
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_EVERY_S):
                    await self._wake.wait()

    async def _build_one(self, row: Row) -> None:
        try:
            await self._finish(row)
        finally:
            self._free.release()
            self._wake.set()  # the account's next one may be built now

    async def build_next(self) -> bool:
        """Build one push. Return False if none waits that may be built."""
        row = await self._claim()
        if row is not None:
            await self._finish(row)
        return row is not None

    async def _claim(self) -> Row | None:
        return await retry_transient("push", lambda: push_store.claim(self._database, self._worker))

    async def _finish(self, row: Row) -> None:
        push_id = row["id"]
        logs = PushLog(lambda text: push_store.save_logs(self._database, push_id, self._worker, text))
        log().info("building", action="push", push=push_id, attempt=row["attempt"])
        limit = asyncio.timeout(BUILD_LIMIT_S)
        try:
            async with logs.saving(), limit:
                end = await self._build(row, logs)
        except BUILD_ERRORS as error:
            await self._fail(push_id, str(error), logs)
        except TRANSIENT_ERRORS as error:  # the disk is full, for one
            late = f"it took longer than {BUILD_LIMIT_S:g} s"
            reason = late if limit.expired() else getattr(error, "strerror", None) or type(error).__name__
            await self._fail(push_id, f"The worker could not build it: {reason}", logs)
        else:
            await self._succeed(row, end)

    async def _succeed(self, row: Row, end: PushSuccess) -> None:
        push_id = row["id"]
        done = await retry_transient("push", lambda: push_store.succeed(self._database, push_id, self._worker, end))
        log().info("pushed" if done else "push lost", action="push", push=push_id, version=end.version)
        if done and end.new is not None:
            await self._announce(end.new.queue, row["account_id"])

    async def _fail(self, push_id: str, reason: str, logs: PushLog) -> None:
        reason = reason.replace("\0", "\N{REPLACEMENT CHARACTER}")
        log().info("push failed", action="push", push=push_id)
        await retry_transient("push", lambda: push_store.fail(self._database, push_id, self._worker, reason, logs.text))

    async def _build(self, row: Row, logs: PushLog) -> PushSuccess:
        files = msgspec.json.decode(row["files"], type=list[BundleFile])
        digest = bundle_digest(files)
        if row["attempt"] > ATTEMPTS:
            raise BootFailed(f"the workers that tried to build it were lost, {ATTEMPTS} times")
        known = await push_store.version_of(self._database, row["model_id"], digest)
        if known is not None:
            logs.add_line("The model has this version already: the same files.")
            return PushSuccess(version=known, warnings=(), logs=logs.text, new=None)
        identity = VersionIdentity(new_id(), version_id(row["model_id"], digest), digest)
        logs.add_line(f"Fetching {len(files)} files, {sum(file.size for file in files):,} bytes.")
        directory = await self._bundles.acquire(identity.queue, files)
        try:
            new, warnings = await self._build_version(identity, files, directory, logs, trusted=row["trusted"])
        except BaseException:
            self._bundles.release(identity.queue)
            await self._bundles.discard(identity.queue)
            raise
        self._bundles.release(identity.queue)
        return PushSuccess(version=identity.id, warnings=warnings, logs=logs.text, new=new)

    async def _build_version(
        self, identity: VersionIdentity, files: list[BundleFile], directory: Path, logs: PushLog, *, trusted: bool
    ) -> tuple[NewVersion, tuple[str, ...]]:
        parsed = await asyncio.to_thread(read_config, directory)
        if parsed.config.requirements:
            logs.add_line(f"Installing {', '.join(parsed.config.requirements)}.")
        environment = await self._environments.ensure(parsed.config, logs.add)
        warnings = (*parsed.warnings, *environment.warnings)
        for warning in warnings:
            logs.add_line(warning)
        logs.add_line(f"Importing {parsed.config.entry}.")
        raw, printed = await self._inspector.inspect(directory, environment, parsed.config, trusted=trusted)
        logs.add(printed)
        schema = check_schema(bytes(raw))
        for warning in schema.warnings:
            logs.add_line(warning)
        config = msgspec.structs.replace(parsed.config, warnings=(*warnings, *schema.warnings))
        if schema.guessed is not None:
            config = guessed_schemas.mark_guessed(config, schema.guessed)
            logs.add_line(config.warnings[-1])
        new = NewVersion(
            queue=identity.queue,
            id=identity.id,
            digest=identity.digest,
            cog_version=COG_VERSION,
            openapi_schema=schema.text,
            files=msgspec.json.encode(files).decode(),
            config=msgspec.json.encode(config).decode(),
            streams=schema.streams,
        )
        logs.add_line("Done.")
        return new, config.warnings
