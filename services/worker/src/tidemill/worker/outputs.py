"""Files that a model made: from the descriptors its child handed over to the object store, as they appear.

Never by path: a child could point one anywhere. What it can open it may read, and no more.
"""

import asyncio
import itertools
import mimetypes
import os
import re
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import msgspec

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.limits import FILENAME_LIMIT_BYTES, OUTPUT_FILE_LIMIT_BYTES
from tidemill.runtime.objects import Objects, ObjectStoreError
from tidemill.worker.engine import Refused
from tidemill.worker.frames import FileRef
from tidemill.worker.run import Run

CHUNK_BYTES: Final = 1024 * 1024
PARALLEL: Final = 4  # of one output; a store on one machine gains nothing from more
TRIES: Final = 3
UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"PK\x03\x04", "application/zip"),
)


class Outputs:
    """`url_for` makes the URL under which clients fetch an object."""

    def __init__(self, objects: Objects, url_for: Callable[[str], str]) -> None:
        self._objects = objects
        self._url_for = url_for
        self._slots = asyncio.Semaphore(PARALLEL)
        self._numbers = itertools.count()

    async def upload(self, run: Run, value: msgspec.Raw, files: Sequence[FileRef], fds: list[int]) -> msgspec.Raw:
        """`value` with the URL of each file at its pointer. Closes the descriptors. Raises Refused."""
        try:
            urls = await asyncio.gather(*(self._one(run, ref, fd) for ref, fd in zip(files, fds, strict=True)))
        finally:
            for fd in fds:
                os.close(fd)
        if not files:
            return value
        decoded = msgspec.json.decode(value)
        for ref, url in zip(files, urls, strict=True):
            decoded = put_at(decoded, ref.pointer, url)
        return msgspec.Raw(msgspec.json.encode(decoded))

    async def _one(self, run: Run, ref: FileRef, fd: int) -> str:
        size = _size(fd)
        name = safe_name(ref.name)
        # A number of this process's own keeps files of one name, and of several attempts, apart.
        key = f"outputs/{run.job.id}/{run.job.attempt}-{next(self._numbers)}/{name}"
        kind = content_type(name, os.pread(fd, 16, 0))
        async with self._slots:
            for left in reversed(range(TRIES)):
                try:
                    await self._objects.put(key, _read(fd, size), size, kind)
                    break
                except ObjectStoreError as error:
                    if not left:
                        message = f"The output file {name} could not be stored."
                        raise Refused(message, ErrorCode.OUTPUT_UPLOAD_FAILED) from error
        return self._url_for(key)


def _size(fd: int) -> int:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise Refused("The output names something that is no regular file.", ErrorCode.MODEL_ERROR)
    if status.st_size > OUTPUT_FILE_LIMIT_BYTES:
        limit = OUTPUT_FILE_LIMIT_BYTES // 1024**3
        raise Refused(f"An output file is over {limit} GiB.", ErrorCode.OUTPUT_TOO_LARGE)
    return status.st_size


async def _read(fd: int, size: int) -> AsyncIterator[bytes]:
    """Exactly `size` bytes: the model may go on writing, and the store was told how many come."""
    offset = 0
    while offset < size:
        chunk = await asyncio.to_thread(os.pread, fd, min(CHUNK_BYTES, size - offset), offset)
        if not chunk:
            raise Refused("An output file shrank while it was stored.", ErrorCode.MODEL_ERROR)
        offset += len(chunk)
        yield chunk


def safe_name(name: str) -> str:
    """A file name for a URL: no directories, nothing that needs quoting, its suffix kept."""
    cleaned = UNSAFE.sub("_", name.rpartition("/")[2]).lstrip(".") or "output"
    stem, dot, suffix = cleaned.rpartition(".")
    if not dot:
        return cleaned[:FILENAME_LIMIT_BYTES]
    return f"{stem[: FILENAME_LIMIT_BYTES - len(suffix) - 1]}.{suffix}"[-FILENAME_LIMIT_BYTES:]


def content_type(name: str, head: bytes) -> str:
    guessed = mimetypes.guess_type(name)[0]
    if guessed is not None:
        return guessed
    if head[:4] == b"RIFF":
        return {b"WAVE": "audio/wav", b"WEBP": "image/webp"}.get(head[8:12], "application/octet-stream")
    return next((kind for magic, kind in MAGIC if head.startswith(magic)), "application/octet-stream")


def put_at(value: Any, pointer: str, url: str) -> Any:
    """`value` with `url` at the JSON pointer (RFC 6901). Raises ValueError when there is no such place."""
    if pointer == "":
        return url
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    place = value
    try:
        for part in parts[:-1]:
            place = place[int(part)] if isinstance(place, list) else place[part]
        last: Any = int(parts[-1]) if isinstance(place, list) else parts[-1]
        place[last] = url
    except (KeyError, IndexError, TypeError, ValueError):
        raise ValueError(f"the output has no place {pointer!r}") from None
    return value
