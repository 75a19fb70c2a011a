"""Downloads one model file into the cache's folder for partial files.

A file comes in pieces, several at a time. A piece resumes where its connection broke. Complete pieces are recorded
beside the file, so that the next worker process resumes too. Only a file with the right digest is kept.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, Protocol

import aiohttp

from tidemill.contracts.limits import MIB
from tidemill.hosting.threads import finish_in_thread
from tidemill.runtime.objects.retries import Outage, Retries, RetryBudget
from tidemill.runtime.objects.store import ObjectMissing, ObjectStoreError
from tidemill.runtime.telemetry import log

PIECE_BYTES: Final = 64 * MIB  # a worker that dies loses at most this of each connection: seconds of transfer
PARALLEL_OF_A_FILE: Final = 4  # one connection to a store reaches some 100 MB/s, a link may have 1 GB/s
FETCHES: Final = 2  # of a whole file: one wrong digest may be the transfer's fault, two are the store's
BUFFER_BYTES: Final = MIB
HASH_BYTES: Final = 4 * MIB
PARTIAL_MODE: Final = 0o600


class BlobUnavailable(Exception):  # noqa: N818 - named after the situation
    """A file of the model cannot be fetched; the message is for the model's author."""


class BlobSource(Protocol):
    """Opens the bytes from `start` up to `stop` of the blob with this digest.

    Raise ObjectMissing or ObjectStoreError, on entering or while the bytes are read.
    """

    def open(self, digest: str, start: int, stop: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...


class DigestMismatch(Exception):  # noqa: N818 - named after the situation
    """The received bytes do not match the digest."""


class Download:
    """`slots`, shared by all downloads, limits the connections. `partial` is the file to fill."""

    def __init__(self, source: BlobSource, slots: asyncio.Semaphore, partial: Path, digest: str, size: int) -> None:
        self._source = source
        self._slots = slots
        self._partial = partial
        self._digest = digest
        self._size = size
        self._count = -(-size // PIECE_BYTES)
        self._done: set[int] = set()
        self._sha256 = hashlib.sha256()
        self._hashed = 0  # pieces hashed, from the first on
        self._hashing = asyncio.Lock()
        self._outage = Outage("store of model files")

    async def run(self) -> None:
        """Return when `partial` is complete and verified. Raise BlobUnavailable, OSError."""
        for attempt in range(1, FETCHES + 1):
            try:
                await self._fill()
            except DigestMismatch:
                forget(self._partial)
                log().warning("wrong bytes", action="retry", digest=self._digest, attempt=attempt)
            else:
                return
        raise BlobUnavailable(f"the store holds other bytes than those with sha256 {self._digest}")

    async def _fill(self) -> None:
        self._sha256, self._hashed = hashlib.sha256(), 0
        descriptor = await finish_in_thread(self._open)
        try:
            await self._fetch_all(descriptor)
            await self._hash_on(descriptor)
        finally:
            os.close(descriptor)
        if self._sha256.hexdigest() != self._digest:
            raise DigestMismatch

    async def _fetch_all(self, descriptor: int) -> None:
        missing = [number for number in range(self._count) if number not in self._done]
        waiting = iter(missing)

        async def fetch_pieces() -> None:
            for number in waiting:
                await self._fetch(descriptor, number)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in missing[:PARALLEL_OF_A_FILE]:
                    group.create_task(fetch_pieces(), name=f"fetch {self._digest}")
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    def _open(self) -> int:
        """Open the partial file. Earlier pieces count if it has the right size already."""
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PARTIAL_MODE)
        try:
            known = os.fstat(descriptor).st_size == self._size
            self._done = self._recorded() if known else set()
            if not known:
                os.ftruncate(descriptor, 0)
                if self._size:
                    os.posix_fallocate(descriptor, 0, self._size)  # a full disk is reported now
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _recorded(self) -> set[int]:
        try:
            lines = _record(self._partial).read_text().splitlines()
        except FileNotFoundError:
            return set()
        return {int(line) for line in lines if line.isdecimal() and int(line) < self._count}

    async def _fetch(self, descriptor: int, number: int) -> None:
        """Fetch one piece, over as many connections as it takes."""
        at, stop = number * PIECE_BYTES, min((number + 1) * PIECE_BYTES, self._size)
        retries = Retries(RetryBudget(), self._outage)
        while True:
            before = at
            try:
                async with self._slots:
                    at = await self._receive(descriptor, at, stop)
            except _ConnectionBroken as broken:
                at = broken.at
                if at > before:
                    retries.succeeded()
                log().warning("blob not fetched", action="retry", digest=self._digest, at=at, error=str(broken))
                if not broken.passing or not await retries.wait(str(broken)):
                    reason = f"the file with sha256 {self._digest} could not be fetched from the store"
                    raise BlobUnavailable(reason) from None
            else:
                break
        await finish_in_thread(self._record, number)
        await self._hash_on(descriptor)

    async def _receive(self, descriptor: int, at: int, stop: int) -> int:
        """Write what one connection brings. Return the offset reached, `stop`.

        Raise _ConnectionBroken with the offset reached, BlobUnavailable, DigestMismatch, OSError.
        """
        writer = _Writer(descriptor, at)
        try:
            async with self._source.open(self._digest, at, stop) as chunks:
                async for chunk in chunks:
                    await writer.add(chunk, stop)
        except ObjectMissing:
            raise BlobUnavailable(f"the file with sha256 {self._digest} is not in the store") from None
        except (ObjectStoreError, aiohttp.ClientError, TimeoutError) as error:
            await writer.flush()
            passing = not isinstance(error, ObjectStoreError) or error.passing
            raise _ConnectionBroken(writer.at, str(error) or type(error).__name__, passing=passing) from None
        await writer.flush()
        if writer.at == at:
            raise DigestMismatch  # the store's file is shorter
        if writer.at < stop:
            raise _ConnectionBroken(writer.at, "the connection ended early")
        return stop

    def _record(self, number: int) -> None:
        """Record a complete piece. A crash may keep the line and lose the bytes: the digest check finds that."""
        self._done.add(number)
        if self._count > 1:
            with _record(self._partial).open("a") as record:
                record.write(f"{number}\n")

    async def _hash_on(self, descriptor: int) -> None:
        """Hash the pieces that have come, while they are still in the page cache."""
        async with self._hashing:
            while self._hashed in self._done:
                start = self._hashed * PIECE_BYTES
                stop = min(start + PIECE_BYTES, self._size)
                await finish_in_thread(_hash, self._sha256.update, descriptor, start, stop)
                self._hashed += 1


class _Writer:
    """Buffers chunks: one call into a thread for each megabyte costs little."""

    def __init__(self, descriptor: int, at: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()
        self.at = at

    async def add(self, chunk: bytes, stop: int) -> None:
        self._buffer += chunk
        if self.at + len(self._buffer) > stop:
            raise DigestMismatch
        if len(self._buffer) >= BUFFER_BYTES:
            await self.flush()

    async def flush(self) -> None:
        full, self._buffer = self._buffer, bytearray()
        await finish_in_thread(_write, self._descriptor, full, self.at)
        self.at += len(full)


class _ConnectionBroken(Exception):  # noqa: N818 - named after the situation
    def __init__(self, at: int, reason: str, *, passing: bool = True) -> None:
        super().__init__(reason)
        self.at = at
        self.passing = passing


def _write(descriptor: int, data: bytearray, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written


def _hash(update: Callable[[bytes], None], descriptor: int, start: int, stop: int) -> None:
    while start < stop:
        data = os.pread(descriptor, min(HASH_BYTES, stop - start), start)
        if not data:
            return  # another process truncated it: the digest will not match
        update(data)
        start += len(data)


def _record(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.pieces")


def forget(partial: Path) -> None:
    """Delete the partial file and its record."""
    partial.unlink(missing_ok=True)
    _record(partial).unlink(missing_ok=True)
