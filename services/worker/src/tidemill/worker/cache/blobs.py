"""The local cache of model files (blobs) by sha256: fetched once from the object store, then shared by hard links.

A blob in its place has been verified and synced to the disk. It is never written again.
"""

import asyncio
import contextlib
import errno
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from io import FileIO
from pathlib import Path
from typing import Final

from tidemill.contracts.api.pushes import BundleFile
from tidemill.contracts.bundle import blob_key
from tidemill.hosting.scratch import Scratch, sync_directory
from tidemill.hosting.single_flight import SingleFlight
from tidemill.hosting.threads import finish_in_thread
from tidemill.runtime.objects.store import CHUNK_BYTES, Objects, ObjectStoreError
from tidemill.worker.cache.downloads import BlobSource, BlobUnavailable, Download, forget

__all__ = ["BlobCache", "BlobUnavailable", "ObjectStoreBlobs"]

PARALLEL: Final = 8  # connections at once: enough to use a link's bandwidth with files of any size
PARTIAL: Final = "partial"
PARTIAL_LIFE_S: Final = 24 * 3600.0  # a download without progress for so long will not be resumed
BLOB_MODE: Final = 0o444
EXECUTABLE_MODE: Final = 0o555


class ObjectStoreBlobs:
    """The object store as a BlobSource."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @asynccontextmanager
    async def open(self, digest: str, start: int, stop: int) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._objects.get(blob_key(digest), byte_range=f"bytes={start}-{stop - 1}") as response:
            if response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                yield _nothing()
            elif response.status == HTTPStatus.PARTIAL_CONTENT or start == 0:
                yield response.content.iter_chunked(CHUNK_BYTES)
            else:
                raise ObjectStoreError("the store does not serve ranges", passing=False)


async def _nothing() -> AsyncIterator[bytes]:
    """Yield nothing: the stored file is too short, and the digest check will report it."""
    for chunk in list[bytes]():
        yield chunk


class BlobCache:
    """`directory` holds ab/<sha256>, and ab/<sha256>.x for an executable copy.

    Executables are copies, because hard links to one file share its mode.
    """

    def __init__(self, directory: Path, source: BlobSource, scratch: Scratch, *, parallel: int = PARALLEL) -> None:
        self.directory = directory
        self._source = source
        self._scratch = scratch
        self._parallel = parallel
        self._slots = asyncio.Semaphore(parallel)
        self._downloads: SingleFlight[str, None] = SingleFlight("blob")
        self._wanted: Counter[Path] = Counter()

    def path(self, file: BundleFile) -> Path:
        return self._plain(file.sha256, ".x" if file.executable else "")

    def _plain(self, digest: str, suffix: str = "") -> Path:
        return self.directory / digest[:2] / f"{digest}{suffix}"

    @contextmanager
    def wanted(self, files: Iterable[BundleFile]) -> Iterator[None]:
        """Protect these blobs from eviction while the context is open."""
        paths = [path for file in files for path in (self._plain(file.sha256), self.path(file))]
        self._wanted.update(paths)
        try:
            yield
        finally:
            self._wanted.subtract(paths)
            self._wanted = +self._wanted

    def is_wanted(self, path: Path) -> bool:
        return self._wanted[path] > 0

    async def fetch(self, files: Sequence[BundleFile]) -> None:
        """Return when all files are in the cache. Raise BlobUnavailable or OSError."""
        missing = iter(await finish_in_thread(self._missing, files))

        async def fetch_missing() -> None:
            for file in missing:
                await self._fetch(file)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._parallel):
                    group.create_task(fetch_missing(), name="fetch blobs")
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    def missing_bytes(self, files: Sequence[BundleFile]) -> int:
        """Return how many bytes of them must still be fetched. Blocking."""
        return sum(file.size for file in self._missing(files))

    def stored_bytes(self) -> int:
        """Return the size of all blobs. Blocking."""
        return sum(path.stat().st_size for path in self.directory.glob("??/*"))

    def _missing(self, files: Sequence[BundleFile]) -> list[BundleFile]:
        """Return one file for each blob that is not there with its full size."""
        blobs = {self.path(file): file for file in files}
        return [file for path, file in blobs.items() if not _has_size(path, file.size)]

    async def _fetch(self, file: BundleFile) -> None:
        plain = self._plain(file.sha256)
        if not _has_size(plain, file.size):
            await self._downloads.run(file.sha256, lambda: self._download(file.sha256, file.size))
        if file.executable:
            await self._downloads.run(f"{file.sha256}.x", lambda: finish_in_thread(self._copy, file))

    async def _download(self, digest: str, size: int) -> None:
        partial = self.directory / PARTIAL / digest
        await Download(self._source, self._slots, partial, digest, size).run()
        await finish_in_thread(self._keep, partial, self._plain(digest))

    def _keep(self, partial: Path, final: Path) -> None:
        with FileIO(partial, "rb+") as file:
            _settle(file, partial, final, BLOB_MODE)
        forget(partial)

    def forget_partials(self, now: float) -> None:
        """Remove downloads without progress for PARTIAL_LIFE_S. Blocking; `now` is unix seconds."""
        for partial in (self.directory / PARTIAL).glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if partial.stat().st_mtime < now - PARTIAL_LIFE_S:
                    partial.unlink()

    def _copy(self, file: BundleFile) -> None:
        partial = self._scratch.fresh()
        try:
            with self._plain(file.sha256).open("rb") as source, FileIO(partial, "xb") as target:
                shutil.copyfileobj(source, target)
                _settle(target, partial, self.path(file), EXECUTABLE_MODE)
        finally:
            partial.unlink(missing_ok=True)

    def link(self, file: BundleFile, target: Path) -> None:
        """Hard-link the blob to `target`. Raise FileNotFoundError if the blob has been evicted."""
        try:
            os.link(self.path(file), target)
        except OSError as error:
            if error.errno != errno.EMLINK:  # ext4 allows 65,000 links; empty __init__.py files reach that
                raise
            shutil.copy(self.path(file), target)

    async def close(self) -> None:
        await self._downloads.close()


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _settle(file: FileIO, partial: Path, final: Path, mode: int) -> None:
    """Sync and rename the file: after a crash of the machine, the name has the whole file or none."""
    os.fchmod(file.fileno(), mode)
    os.fsync(file.fileno())
    final.parent.mkdir(parents=True, exist_ok=True)
    partial.replace(final)
    sync_directory(final.parent)
