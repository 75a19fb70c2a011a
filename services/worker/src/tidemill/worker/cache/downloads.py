"""One model file from its source into the cache's folder for what has not all come yet.

A file comes in pieces, several at a time, each gone on with where its connection broke; which pieces are whole is
remembered beside the file, so that the next worker process goes on with it too. Only the digest over all of it
decides: what has come wrong is fetched afresh, never kept.
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

PIECE_BYTES: Final = 64 * MIB  # what a worker that dies loses of each connection; seconds of a link
PARALLEL_OF_A_FILE: Final = 4  # one connection to a store fills a link of some 100 MB/s, not one of 1 GB/s
FETCHES: Final = 2  # of a whole file that turned out wrong: once it may have been the way here, twice it is the store
BUFFER_BYTES: Final = MIB
HASH_BYTES: Final = 4 * MIB
PARTIAL_MODE: Final = 0o600


class BlobUnavailable(Exception):  # noqa: N818 - named after the situation
    """A file of the model cannot be had; the message is fit for the model's author."""


class BlobSource(Protocol):
    """Where files come from: the bytes from `start` up to `stop` of the one with that digest.

    Raises ObjectMissing or ObjectStoreError, on entering or while the bytes are read.
    """

    def open(self, digest: str, start: int, stop: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...


class DigestMismatch(Exception):  # noqa: N818 - named after the situation
    """The bytes that came are not those of the digest."""


class Download:
    """`slots` are shared by all downloads: one for each connection. `partial` is the file to fill."""

    def __init__(self, source: BlobSource, slots: asyncio.Semaphore, partial: Path, digest: str, size: int) -> None:
        self._source = source
        self._slots = slots
        self._partial = partial
        self._digest = digest
        self._size = size
        self._count = -(-size // PIECE_BYTES)
        self._done: set[int] = set()
        self._sha256 = hashlib.sha256()
        self._hashed = 0  # pieces, from the first
        self._hashing = asyncio.Lock()
        self._outage = Outage("store of model files")

    async def run(self) -> None:
        """Returns when `partial` is whole and right. Raises BlobUnavailable, OSError."""
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

        async def carry() -> None:
            for number in waiting:
                await self._fetch(descriptor, number)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in missing[:PARALLEL_OF_A_FILE]:
                    group.create_task(carry(), name=f"fetch {self._digest}")
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    def _open(self) -> int:
        """What came before counts when it was a file of this size."""
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PARTIAL_MODE)
        try:
            known = os.fstat(descriptor).st_size == self._size
            self._done = self._remembered() if known else set()
            if not known:
                os.ftruncate(descriptor, 0)
                if self._size:
                    os.posix_fallocate(descriptor, 0, self._size)  # a full disk says so now
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _remembered(self) -> set[int]:
        try:
            lines = _record(self._partial).read_text().splitlines()
        except FileNotFoundError:
            return set()
        return {int(line) for line in lines if line.isdecimal() and int(line) < self._count}

    async def _fetch(self, descriptor: int, number: int) -> None:
        """One piece, whatever number of connections it takes."""
        at, stop = number * PIECE_BYTES, min((number + 1) * PIECE_BYTES, self._size)
        retries = Retries(RetryBudget(), self._outage)
        while True:
            before = at
            try:
                async with self._slots:
                    at = await self._receive(descriptor, at, stop)
            except _Broken as broken:
                at = broken.at
                if at > before:
                    retries.succeeded()
                log().warning("blob not fetched", action="retry", digest=self._digest, at=at, error=str(broken))
                if not broken.passing or not await retries.wait(str(broken)):
                    reason = f"the file with sha256 {self._digest} could not be fetched from the store"
                    raise BlobUnavailable(reason) from None
            else:
                break
        await finish_in_thread(self._remember, number)
        await self._hash_on(descriptor)

    async def _receive(self, descriptor: int, at: int, stop: int) -> int:
        """Writes what one connection brings. Raises _Broken with how far it came, BlobUnavailable, Wrong, OSError."""
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
            raise _Broken(writer.at, str(error) or type(error).__name__, passing=passing) from None
        await writer.flush()
        if writer.at == at:
            raise DigestMismatch  # the store's file is shorter
        if writer.at < stop:
            raise _Broken(writer.at, "the connection ended early")
        return stop

    def _remember(self, number: int) -> None:
        """A machine that crashes may keep the line and lose the bytes: the digest will tell."""
        self._done.add(number)
        if self._count > 1:
            with _record(self._partial).open("a") as record:
                record.write(f"{number}\n")

    async def _hash_on(self, descriptor: int) -> None:
        """Keeps up with the pieces that have come, while they are in the page cache and others are on their way."""
        async with self._hashing:
            while self._hashed in self._done:
                start = self._hashed * PIECE_BYTES
                stop = min(start + PIECE_BYTES, self._size)
                await finish_in_thread(_hash, self._sha256.update, descriptor, start, stop)
                self._hashed += 1


class _Writer:
    """Gathers what comes: a hop into a thread costs little beside a megabyte."""

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


class _Broken(Exception):  # noqa: N818 - named after the situation
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
            return  # cut short by somebody else: the digest will not match
        update(data)
        start += len(data)


def _record(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.pieces")


def forget(partial: Path) -> None:
    """What has come so far is not to be used any more, or has been moved away."""
    partial.unlink(missing_ok=True)
    _record(partial).unlink(missing_ok=True)
