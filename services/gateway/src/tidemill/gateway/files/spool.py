"""Spools uploads to a temporary file until their size and hashes are checked, and then stores them.

So no unchecked byte reaches the object store, an aborted upload leaves nothing there, and a write to the store can be
retried, which the body of a request cannot.
"""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import IO, Self

from tidemill.contracts.errors import Problem, unavailable
from tidemill.gateway.files.downloads import STORING_S, store_unavailable
from tidemill.runtime.objects.retries import RetryBudget
from tidemill.runtime.objects.store import CHUNK_BYTES, Objects, ObjectStoreError


class Spool:
    """One upload. Created by `opened`, which deletes the file afterwards."""

    def __init__(self, file: IO[bytes], limit_bytes: int, over_limit: Problem) -> None:
        self._file = file
        self._limit_bytes = limit_bytes
        self.over_limit = over_limit
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self.size = 0

    @classmethod
    @contextmanager
    def opened(cls, limit_bytes: int, over_limit: Problem) -> Iterator[Self]:
        """`over_limit` is raised when more than `limit_bytes` are added."""
        with tempfile.TemporaryFile() as file:
            yield cls(file, limit_bytes, over_limit)

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    async def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > self._limit_bytes:
            raise self.over_limit
        try:
            await asyncio.to_thread(self._add, chunk)
        except OSError:
            raise unavailable("There is no room to receive the file at the moment; please retry.", 10) from None

    def _add(self, chunk: bytes) -> None:
        self._md5.update(chunk)
        self._sha256.update(chunk)
        self._file.write(chunk)

    async def store(self, objects: Objects, key: str, content_type: str) -> None:
        """Store the upload under `key`. Raise the 503 problem when the object store fails."""
        await asyncio.to_thread(self._file.flush)
        try:
            await objects.store(key, self, self.size, content_type, RetryBudget(STORING_S))
        except ObjectStoreError:
            raise store_unavailable() from None

    async def chunks(self, offset: int, size: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `offset`. Several calls may read at once."""
        end = offset + size
        while offset < end:
            chunk = await asyncio.to_thread(os.pread, self._file.fileno(), min(CHUNK_BYTES, end - offset), offset)
            offset += len(chunk)
            yield chunk
