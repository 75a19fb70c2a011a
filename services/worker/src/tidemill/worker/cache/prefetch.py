"""Fetches the files and builds the environment of new versions before anybody runs them, where there is room.

A hint that is lost costs a slower first boot and nothing else. It never makes room: what others use stays.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from prometheus_client import Counter

from tidemill.contracts.api import BundleFile
from tidemill.contracts.events import VersionMade
from tidemill.hosting.cogyaml import ModelConfig
from tidemill.hosting.environments import EnvironmentFailed, Environments
from tidemill.hosting.threads import finish_in_thread
from tidemill.hosting.zygotes import Zygotes
from tidemill.model.host import ZygoteDiedError
from tidemill.runtime.db import AWAY, Database
from tidemill.runtime.telemetry import log
from tidemill.security.bundle_paths import BundleError
from tidemill.worker import store
from tidemill.worker.cache.blobs import Blobs, BlobUnavailable
from tidemill.worker.cache.bundles import Bundles

WAITING: Final = 32  # versions; of a flood of pushes the latest are the likeliest to be run
FILL_SHARE: Final = 0.8  # of the space for model files: the rest is for what is asked for
WITHIN_S: Final = 3600.0  # of one version: files of 20 GiB and an environment with torch
PREFETCHED: Final = Counter("tidemill_worker_prefetched_total", "New versions that were fetched ahead", ["result"])
REASONS: Final = (BundleError, BlobUnavailable, EnvironmentFailed, ZygoteDiedError, TimeoutError, OSError, *AWAY)


Result = Literal["fetched", "gone", "full", "failed"]


class Prefetch:
    """One version at a time, so that boots have most of the link and of the cores. `limit_bytes` is for model files."""

    def __init__(  # noqa: PLR0917 - the parts of a boot up to the fork
        self,
        database: Database,
        blobs: Blobs,
        bundles: Bundles,
        environments: Environments,
        zygotes: Zygotes,
        limit_bytes: int,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._bundles = bundles
        self._environments = environments
        self._zygotes = zygotes
        self._limit_bytes = limit_bytes
        self._waiting: deque[str] = deque(maxlen=WAITING)
        self._wake = asyncio.Event()

    async def on_version(self, event: VersionMade) -> None:
        if event.queue not in self._waiting:
            self._waiting.append(event.queue)
            self._wake.set()

    async def run(self) -> None:
        """Named task."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._try(self._waiting.popleft())

    async def _try(self, queue: str) -> None:
        result: Result
        try:
            async with asyncio.timeout(WITHIN_S):
                result = await self.fetch(queue)
        except REASONS as error:
            result = "failed"
            log().warning("not fetched ahead", action="prefetch", queue=queue, error=str(error) or type(error).__name__)
        PREFETCHED.labels(result).inc()

    async def fetch(self, queue: str) -> Result:
        """What became of it: fetched, gone (the version) or full (the cache). Raises REASONS."""
        row = await store.version(self._database, queue)
        if row is None:
            return "gone"
        files = msgspec.json.decode(row["files"], type=list[BundleFile])
        if not await finish_in_thread(self._has_room, files):
            log().info("no room to fetch ahead", action="prefetch", queue=queue)
            return "full"
        await self._bundles.acquire(row["queue"], files)
        try:
            environment = await self._environments.ensure(msgspec.json.decode(row["config"], type=ModelConfig))
        finally:
            self._bundles.release(row["queue"])
        await self._zygotes.get(environment)
        log().info("fetched ahead", action="prefetch", queue=queue, files=len(files))
        return "fetched"

    def _has_room(self, files: Sequence[BundleFile]) -> bool:
        missing = self._blobs.missing_bytes(files)
        return missing == 0 or self._blobs.stored_bytes() + missing <= self._limit_bytes * FILL_SHARE
