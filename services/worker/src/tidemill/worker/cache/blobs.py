"""The local cache of model files, each under its sha256, fetched once from the object store and then shared by links.

What stands under a digest has been checked against it and is on the disk. Nobody writes to a blob again.
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

PARALLEL: Final = 8  # connections at once: enough to fill a link with files of any size
PARTIAL: Final = "partial"
PARTIAL_LIFE_S: Final = 24 * 3600.0  # what has not gone on for so long belongs to a boot that nobody repeats
BLOB_MODE: Final = 0o444
EXECUTABLE_MODE: Final = 0o555


class ObjectStoreBlobs:
    """The object store as a source."""

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
    """The file is shorter than it should be: the digest's matter, not the store's."""
    for chunk in list[bytes]():
        yield chunk


class BlobCache:
    """`directory` holds ab/<sha256>, and ab/<sha256>.x for the same bytes as a program.

    Programs are copies of their own: links to one file share its mode.
    """

    def __init__(self, directory: Path, source: BlobSource, scratch: Scratch, *, parallel: int = PARALLEL) -> None:
        self.directory = directory
        self._source = source
        self._scratch = scratch
        self._parallel = parallel
        self._slots = asyncio.Semaphore(parallel)
        self._flights: SingleFlight[str, None] = SingleFlight("blob")
        self._wanted: Counter[Path] = Counter()

    def path(self, file: BundleFile) -> Path:
        return self._plain(file.sha256, ".x" if file.executable else "")

    def _plain(self, digest: str, suffix: str = "") -> Path:
        return self.directory / digest[:2] / f"{digest}{suffix}"

    @contextmanager
    def wanted(self, files: Iterable[BundleFile]) -> Iterator[None]:
        """While it is open, these blobs are not to be evicted."""
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
        """Returns when all are in the cache. Raises BlobUnavailable or OSError."""
        missing = iter(await finish_in_thread(self._missing, files))

        async def carry() -> None:
            for file in missing:
                await self._fetch(file)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._parallel):
                    group.create_task(carry(), name="fetch blobs")
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    def missing_bytes(self, files: Sequence[BundleFile]) -> int:
        """What is still to be fetched of them. Blocking."""
        return sum(file.size for file in self._missing(files))

    def stored_bytes(self) -> int:
        """What all blobs take. Blocking."""
        return sum(path.stat().st_size for path in self.directory.glob("??/*"))

    def _missing(self, files: Sequence[BundleFile]) -> list[BundleFile]:
        """One entry for each blob that is not there with its full size."""
        blobs = {self.path(file): file for file in files}
        return [file for path, file in blobs.items() if not _has_size(path, file.size)]

    async def _fetch(self, file: BundleFile) -> None:
        plain = self._plain(file.sha256)
        if not _has_size(plain, file.size):
            await self._flights.run(file.sha256, lambda: self._download(file.sha256, file.size))
        if file.executable:
            await self._flights.run(f"{file.sha256}.x", lambda: finish_in_thread(self._copy, file))

    async def _download(self, digest: str, size: int) -> None:
        partial = self.directory / PARTIAL / digest
        await Download(self._source, self._slots, partial, digest, size).run()
        await finish_in_thread(self._keep, partial, self._plain(digest))

    def _keep(self, partial: Path, final: Path) -> None:
        with FileIO(partial, "rb+") as file:
            _settle(file, partial, final, BLOB_MODE)
        forget(partial)

    def forget_partials(self, now: float) -> None:
        """Removes what was begun and has been left alone for PARTIAL_LIFE_S. Blocking; `now` is unix seconds."""
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
        """Makes `target` the same file as the blob. Raises FileNotFoundError when the blob has been evicted."""
        try:
            os.link(self.path(file), target)
        except OSError as error:
            if error.errno != errno.EMLINK:  # ext4 allows 65,000 links; empty __init__.py files get there
                raise
            shutil.copy(self.path(file), target)

    async def close(self) -> None:
        await self._flights.close()


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _settle(file: FileIO, partial: Path, final: Path, mode: int) -> None:
    """After a crash of the machine the name stands for the whole file or for none."""
    os.fchmod(file.fileno(), mode)
    os.fsync(file.fileno())
    final.parent.mkdir(parents=True, exist_ok=True)
    partial.replace(final)
    sync_directory(final.parent)
