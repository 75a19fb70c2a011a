"""A file descriptor that a child passed to the worker. The child chose the file, and may still change it."""

import os
import stat
import threading
from collections.abc import AsyncIterator
from typing import Final

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.limits import OUTPUT_FILE_LIMIT_BYTES
from tidemill.hosting.threads import finish_in_thread
from tidemill.worker.runs.run import RunFailed

CHUNK_BYTES: Final = 1024 * 1024


class PassedFile:
    """Owns the descriptor. A lock keeps reads and the close apart: a read that an HTTP client left behind must not use
    a descriptor number that was given to another file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._closed = False

    def size(self) -> int:
        """Return the size in bytes. Raise RunFailed if it is no regular file or over the limit, OSError."""
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise RunFailed("The output names something that is no regular file.", ErrorCode.MODEL_ERROR)
        if status.st_size > OUTPUT_FILE_LIMIT_BYTES:
            limit = OUTPUT_FILE_LIMIT_BYTES // 1024**3
            raise RunFailed(f"An output file is over {limit} GiB.", ErrorCode.OUTPUT_TOO_LARGE)
        return status.st_size

    def read_at(self, offset: int, limit_bytes: int) -> bytes:
        """Raise OSError, also if the file was not opened for reading."""
        with self._lock:
            if self._closed:
                raise OSError("the file was closed meanwhile")
            return os.pread(self._descriptor, limit_bytes, offset)

    async def chunks(self, offset: int, size: int) -> AsyncIterator[bytes]:
        """Yield exactly `size` bytes, as announced to the store: the file may grow. Raise RunFailed if it shrank."""
        end = offset + size
        while offset < end:
            chunk = await finish_in_thread(self.read_at, offset, min(CHUNK_BYTES, end - offset))
            if not chunk:
                raise shrunk()
            offset += len(chunk)
            yield chunk

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._descriptor)


def shrunk() -> RunFailed:
    return RunFailed("An output file shrank while it was stored.", ErrorCode.MODEL_ERROR)
