"""Writes a stream of bytes into a file: in large pieces, in threads, within a limit."""

import hashlib
from collections.abc import AsyncIterator
from io import FileIO
from typing import Final, NamedTuple

from tidemill.hosting.threads import finish_in_thread

BUFFER_BYTES: Final = 1024 * 1024  # of each file under way: one call into a thread for this much costs little


class SpoolTooLarge(Exception):  # noqa: N818 - named after the situation
    """The stream is longer than allowed; the file holds a part of it."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"larger than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class Spooled(NamedTuple):
    size: int
    sha256: str  # empty unless `digest` was set


async def spool(chunks: AsyncIterator[bytes], file: FileIO, *, limit_bytes: int, digest: bool = False) -> Spooled:
    """Append all chunks to `file`. Raise SpoolTooLarge, OSError, and what the stream raises."""
    sha256 = hashlib.sha256()
    buffer = bytearray()
    size = 0

    def write() -> None:
        view = memoryview(buffer)
        if digest:
            sha256.update(view)
        while view:
            view = view[file.write(view) :]

    async for chunk in chunks:
        size += len(chunk)
        if size > limit_bytes:
            raise SpoolTooLarge(limit_bytes)
        buffer += chunk
        if len(buffer) >= BUFFER_BYTES:
            await finish_in_thread(write)
            buffer = bytearray()
    await finish_in_thread(write)
    return Spooled(size, sha256.hexdigest() if digest else "")
