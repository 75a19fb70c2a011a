"""Fetches the files and builds the environment of new versions before their first boot, if there is room.

It evicts nothing. A lost hint costs a slower first boot and nothing else.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from prometheus_client import Counter

from tidemill.contracts.api.pushes import BundleFile
from tidemill.hosting.child.zygotes import Zygotes
from tidemill.hosting.environments.store import EnvironmentFailed, Environments
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.hosting.threads import finish_in_thread
from tidemill.model.host.zygote_process import ZygoteDiedError
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log
from tidemill.security.bundle_paths import BundleError
from tidemill.worker import store
from tidemill.worker.cache.blobs import BlobCache, BlobUnavailable
from tidemill.worker.cache.bundles import BundleCache
from tidemill.worker.cache.fair_queue import FairQueue

AT_ONCE: Final = 2  # versions, of different accounts: a slow one blocks no other, and boots keep bandwidth
FILL_SHARE: Final = 0.8  # of the space for model files: the rest is kept for boots
WITHIN_S: Final = 3600.0  # of one version: files of 20 GiB and an environment with torch
PREFETCHED: Final = Counter("tidemill_worker_prefetched_total", "New versions that were fetched ahead", ["result"])
FETCH_ERRORS: Final = (
    BundleError,
    BlobUnavailable,
    EnvironmentFailed,
    ZygoteDiedError,
    TimeoutError,
    OSError,
    *TRANSIENT_ERRORS,
)


Result = Literal["fetched", "gone", "full", "failed"]


class Prefetcher:
    """Fair over accounts. `limit_bytes` is the space for model files."""

    def __init__(  # noqa: PLR0917 - the parts of a boot up to the fork
        self,
        database: Database,
        blobs: BlobCache,
        bundles: BundleCache,
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
        self._waiting = FairQueue()
        self._wake = asyncio.Event()

    def add(self, account: str, queue: str) -> None:
        self._waiting.add(account, queue)
        self._wake.set()

    async def run(self) -> None:
        """Named task."""
        try:
            async with asyncio.TaskGroup() as fetches:
                for number in range(AT_ONCE):
                    fetches.create_task(self._keep_fetching(), name=f"prefetch {number}")
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _keep_fetching(self) -> None:
        while True:
            taken = self._waiting.take()
            if taken is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            account, queue = taken
            try:
                await self._try(queue)
            finally:
                self._waiting.done(account)
                self._wake.set()  # the account's next one may go now

    async def _try(self, queue: str) -> None:
        result: Result
        try:
            async with asyncio.timeout(WITHIN_S):
                result = await self.fetch(queue)
        except FETCH_ERRORS as error:
            result = "failed"
            log().warning("not fetched ahead", action="prefetch", queue=queue, error=str(error) or type(error).__name__)
        PREFETCHED.labels(result).inc()

    async def fetch(self, queue: str) -> Result:
        """Return "fetched", "gone" (the version was deleted) or "full" (the cache). Raise one of FETCH_ERRORS."""
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
