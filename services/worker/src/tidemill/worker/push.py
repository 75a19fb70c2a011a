"""Makes a version of pushed files: fetch, check cog.yaml, build the environment, import the model in the sandbox.

Whatever goes wrong fails the push with its reason and creates nothing.
"""

import asyncio
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from tidemill.contracts.api import BundleFile
from tidemill.contracts.bundle import version_id
from tidemill.contracts.events import PushWaiting
from tidemill.contracts.ids import new_id
from tidemill.runtime.db import AWAY, Database, Row
from tidemill.runtime.telemetry import log
from tidemill.security.bundle_paths import BundleError
from tidemill.worker import push_store
from tidemill.worker.blobs import BlobUnavailable
from tidemill.worker.bundles import Bundles
from tidemill.worker.cogyaml import ConfigRefused, ModelConfig, Parsed, parse
from tidemill.worker.environments import Environment, EnvironmentFailed, Environments
from tidemill.worker.link import BootFailed

LOOK_EVERY_S: Final = 5.0  # for pushes whose hint was lost, and those of workers that died
COG_VERSION: Final = "0.16.0"  # the generation of Cog's API that our module speaks; clients read it
LOGS_LIMIT_CHARS: Final = 256 * 1024
CONFIG_FILE_LIMIT_BYTES: Final = 1024 * 1024


class Inspector(Protocol):
    """Imports a model in the sandbox and tells its schema."""

    async def inspect(self, directory: Path, environment: Environment, config: ModelConfig) -> tuple[msgspec.Raw, str]:
        """(OpenAPI document, what was printed). Raises BootFailed."""
        ...


class Pushes:
    """Builds one push at a time: environments are built by all cores anyway."""

    def __init__(
        self, worker: str, database: Database, bundles: Bundles, environments: Environments, inspector: Inspector
    ) -> None:
        self._worker = worker
        self._database = database
        self._bundles = bundles
        self._environments = environments
        self._inspector = inspector
        self._wake = asyncio.Event()

    async def on_push(self, _: PushWaiting) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Named task."""
        while True:
            self._wake.clear()
            try:
                while (row := await push_store.claim(self._database, self._worker)) is not None:
                    await self._build(row)
            except AWAY as error:
                log().warning("cannot look for pushes", action="retry", error=str(error))
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _build(self, row: Row) -> None:
        logs: list[str] = []
        log().info("building", action="push", push=row["id"])
        try:
            await self._make(row, logs)
        except (BundleError, BlobUnavailable, ConfigRefused, EnvironmentFailed, BootFailed, OSError) as error:
            if isinstance(error, AWAY) and not isinstance(error, BlobUnavailable) and not isinstance(error, OSError):
                raise
            log().info("push failed", action="push", push=row["id"], error=str(error))
            await push_store.fail(self._database, row["id"], self._worker, str(error), _text(logs))

    async def _make(self, row: Row, logs: list[str]) -> None:
        files = msgspec.json.decode(row["files"], type=list[BundleFile])
        queue = new_id()
        directory = await self._bundles.acquire(queue, files)
        try:
            parsed = await asyncio.to_thread(_parse, directory)
            environment = await self._environments.ensure(parsed.config, logs.append)
            await push_store.save_logs(self._database, row["id"], self._worker, _text(logs))
            schema, printed = await self._inspector.inspect(directory, environment, parsed.config)
            logs.append(printed)
        finally:
            self._bundles.release(queue)
        version = (
            queue,
            version_id(files),
            COG_VERSION,
            bytes(schema).decode(),
            row["files"],
            msgspec.json.encode(parsed.config).decode(),
            streams(msgspec.json.decode(schema)),
        )
        warnings = [*parsed.warnings]
        if await push_store.succeed(self._database, row["id"], self._worker, version, warnings, _text(logs)):
            log().info("pushed", action="push", push=row["id"], queue=queue, version=version[1])


def _parse(directory: Path) -> Parsed:
    def read(path: str) -> bytes | None:
        file = directory / path
        if not file.is_file() or file.stat().st_size > CONFIG_FILE_LIMIT_BYTES:
            return None
        return file.read_bytes()

    return parse((directory / "cog.yaml").read_bytes(), read)


def _text(logs: list[str]) -> str:
    return "".join(logs).replace("\0", "")[-LOGS_LIMIT_CHARS:]


def streams(schema: Any) -> bool:
    """Whether the version's output is an iterator, which clients may stream."""
    output = schema.get("components", {}).get("schemas", {}).get("Output", {})
    return isinstance(output, dict) and output.get("x-cog-array-type") == "iterator"
