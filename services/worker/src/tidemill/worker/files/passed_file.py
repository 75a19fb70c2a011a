"""A descriptor that a child handed over: what it leads to is the child's choice, and the child may still change it."""

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
    """Owns the descriptor. Reads and the close exclude one another: a read that an HTTP client left behind must not
    find its number given to another file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._turn = threading.Lock()
        self._closed = False

    def size(self) -> int:
        """In bytes, of a regular file. Raises Refused for anything else and for what is over the limit, OSError."""
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise RunFailed("The output names something that is no regular file.", ErrorCode.MODEL_ERROR)
        if status.st_size > OUTPUT_FILE_LIMIT_BYTES:
            limit = OUTPUT_FILE_LIMIT_BYTES // 1024**3
            raise RunFailed(f"An output file is over {limit} GiB.", ErrorCode.OUTPUT_TOO_LARGE)
        return status.st_size

    def read_at(self, offset: int, limit_bytes: int) -> bytes:
        """Raises OSError, also when it was not opened for reading."""
        with self._turn:
            if self._closed:
                raise OSError("the file was closed meanwhile")
            return os.pread(self._descriptor, limit_bytes, offset)

    async def chunks(self, offset: int, size: int) -> AsyncIterator[bytes]:
        """Exactly `size` bytes: the model may go on writing, and the store was told how many come. Raises Refused."""
        end = offset + size
        while offset < end:
            chunk = await finish_in_thread(self.read_at, offset, min(CHUNK_BYTES, end - offset))
            if not chunk:
                raise shrunk()
            offset += len(chunk)
            yield chunk

    def close(self) -> None:
        with self._turn:
            if not self._closed:
                self._closed = True
                os.close(self._descriptor)


def shrunk() -> RunFailed:
    return RunFailed("An output file shrank while it was stored.", ErrorCode.MODEL_ERROR)
