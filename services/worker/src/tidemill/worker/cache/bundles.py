"""Directories of model versions: made of hard links into the blob cache, kept while used, evicted later.

A version's directory appears by one rename when it is complete; after a crash it is made again. Its files and
directories are read-only, and never symbolic links.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from prometheus_client import Counter as Metric

from tidemill.contracts.api.pushes import BundleFile
from tidemill.contracts.bundle import bundle_digest
from tidemill.contracts.ids import is_id
from tidemill.hosting.scratch import Scratch, remove_tree, sync_directory
from tidemill.hosting.single_flight import SingleFlight
from tidemill.hosting.threads import finish_in_thread
from tidemill.runtime.clock import now
from tidemill.runtime.telemetry import log
from tidemill.security.bundle_paths import check_paths
from tidemill.worker.cache.blobs import BlobCache
from tidemill.worker.cache.eviction import CachedBlob, CachedVersion, Removals, plan

MARKER: Final = "complete"  # holds the bundle's digest; its modification time is the version's last use
SOURCE: Final = "src"
DIRECTORY_MODE: Final = 0o555
USES: Final = Metric("tidemill_worker_cache_versions_total", "Versions needed, by whether they lay here", ["outcome"])
TRIES: Final = 3  # a blob may be evicted between its check and its link


class BundleCache:
    """One process at a time may use `directory`: only this object knows what is in use."""

    def __init__(self, directory: Path, blobs: BlobCache, scratch: Scratch) -> None:
        self._directory = directory
        self._blobs = blobs
        self._scratch = scratch
        self._uses: Counter[str] = Counter()
        self._flights: SingleFlight[str, None] = SingleFlight("version")
        self.uses: Counter[str] = Counter()  # "found" on the disk, or "made" after a fetch
        self._changes = asyncio.Lock()  # no version is acquired while an eviction is decided

    async def acquire(self, queue: str, files: Sequence[BundleFile]) -> Path:
        """Return the directory of the version's files, in use until `release(queue)`.

        Raise BundleError for invalid paths, BlobUnavailable, OSError.
        """
        if not is_id(queue):
            raise ValueError("a queue is named by an id")
        async with self._changes:
            self._uses[queue] += 1
        try:
            await self._flights.run(queue, lambda: self._ensure(queue, files))
        except BaseException:
            self._release(queue)
            raise
        return self._directory / queue / SOURCE

    def release(self, queue: str) -> None:
        """Release one `acquire`."""
        marker = self._directory / queue / MARKER
        if marker.exists():
            os.utime(marker)
        self._release(queue)

    def _release(self, queue: str) -> None:
        self._uses[queue] -= 1
        self._uses = +self._uses

    async def discard(self, queue: str) -> None:
        """Remove the version's directory unless it is in use. Its blobs stay until they are evicted."""
        async with self._changes:
            if not self._uses[queue]:
                await finish_in_thread(self._scratch.discard, self._directory / queue)

    async def _ensure(self, queue: str, files: Sequence[BundleFile]) -> None:
        digest = bundle_digest(files)
        if await finish_in_thread(self._is_complete, queue, digest):
            self._count("found")
            return
        self._count("made")
        check_paths([(file.path, file.size) for file in files])
        with self._blobs.wanted(files):
            for attempt in range(1, TRIES + 1):
                try:
                    await self._blobs.fetch(files)
                    await finish_in_thread(self._build, queue, digest, files)
                except FileNotFoundError:
                    if attempt == TRIES:
                        raise
                else:
                    break
        log().info("version on disk", action="fetch", queue=queue, files=len(files))

    def _count(self, outcome: str) -> None:
        self.uses[outcome] += 1
        USES.labels(outcome).inc()

    def _is_complete(self, queue: str, digest: str) -> bool:
        marker = self._directory / queue / MARKER
        try:
            complete = marker.read_text() == digest
            os.utime(marker)
        except FileNotFoundError:
            return False
        return complete

    def _build(self, queue: str, digest: str, files: Sequence[BundleFile]) -> None:
        fresh = self._scratch.fresh()
        try:
            self._fill(fresh / SOURCE, files)
            with (fresh / MARKER).open("x") as marker:
                marker.write(digest)
                marker.flush()
                os.fsync(marker.fileno())
            self._directory.mkdir(parents=True, exist_ok=True)
            self._scratch.discard(self._directory / queue)
            fresh.rename(self._directory / queue)
        finally:
            remove_tree(fresh)
        sync_directory(self._directory)

    def _fill(self, source: Path, files: Sequence[BundleFile]) -> None:
        source.mkdir(parents=True)
        directories = {source}
        for file in files:
            target = source / file.path
            if target.parent not in directories:
                target.parent.mkdir(parents=True, exist_ok=True)
                directories.update([target.parent, *(each for each in target.parent.parents if source in each.parents)])
            self._blobs.link(file, target)
        for directory in directories:
            directory.chmod(DIRECTORY_MODE)

    async def evict(self, limit_bytes: int) -> Removals:
        """Remove what was used longest ago, and is not in use, until the blobs take at most `limit_bytes`."""
        async with self._changes:
            busy = set(self._uses)
            removals = await finish_in_thread(self._plan, busy, limit_bytes)
            directories = [self._directory / queue for queue in removals.queues]
            moved = await finish_in_thread(self._move_away, directories, [Path(name) for name in removals.blobs])
        await finish_in_thread(self._blobs.forget_partials, now())
        for directory in moved:  # nothing uses it any more, so its removal may take long
            await finish_in_thread(self._scratch.discard, directory)
        if removals.blobs:
            log().info(
                "evicted",
                action="evict",
                versions=len(removals.queues),
                blobs=len(removals.blobs),
                bytes=removals.freed_bytes,
            )
        return removals

    def _plan(self, busy: set[str], limit_bytes: int) -> Removals:
        blobs = {}
        for path in self._blobs.directory.glob("??/*"):
            status = path.stat()
            blobs[status.st_ino] = CachedBlob(
                str(path), status.st_size, status.st_nlink, status.st_mtime, self._blobs.is_wanted(path)
            )
        idle = [self._cached(path) for path in self._directory.glob("*") if path.name not in busy]
        return plan(blobs, idle, limit_bytes)

    def _cached(self, path: Path) -> CachedVersion:
        inodes = tuple(
            (Path(directory) / name).stat().st_ino for directory, _, names in os.walk(path / SOURCE) for name in names
        )
        marker = path / MARKER
        return CachedVersion(path.name, marker.stat().st_mtime if marker.exists() else 0, inodes)

    def _move_away(self, versions: Sequence[Path], blobs: Sequence[Path]) -> list[Path]:
        """Move versions into scratch folders, and delete blobs. Return the folders."""
        moved = []
        for version in versions:
            target = self._scratch.fresh()
            version.rename(target)
            moved.append(target)
        for blob in blobs:
            blob.unlink(missing_ok=True)
        return moved

    async def close(self) -> None:
        await self._flights.close()
        await self._blobs.close()
