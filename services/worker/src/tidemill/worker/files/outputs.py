"""Uploads the files that a model made: from the descriptors that its child passed, to the object store.

Never by path, which could point anywhere. A descriptor shows only what the child itself could open.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from tidemill.contracts.errors import ErrorCode
from tidemill.hosting.child.frames import FileRef
from tidemill.hosting.files.json_pointer import PointerError, set_at
from tidemill.hosting.files.output_names import HEAD_BYTES, content_type, safe_name
from tidemill.hosting.threads import finish_in_thread
from tidemill.runtime.objects.retries import RetryBudget
from tidemill.runtime.objects.store import Objects, ObjectStoreError
from tidemill.runtime.telemetry import log
from tidemill.worker.files.passed_file import PassedFile, shrunk
from tidemill.worker.runs.ports import AddLogLine
from tidemill.worker.runs.run import Run, RunFailed
from tidemill.worker.runs.stopping import unless_stopped

PARALLEL: Final = 4  # of all runs of the worker; more gain nothing with a store on one machine
# Files that wait for an unreachable store lie on the disks of their instances, each with an open descriptor. Over these
# limits, the worker begins nothing new.
WAITING_LIMIT: Final = 256
WAITING_LIMIT_BYTES: Final = 4 * 1024**3
WAITS: Final = "[The object store is away: the output is kept and stored when it is back.]\n"


class OutputUploader:
    """`url_for` returns the URL under which clients fetch an object."""

    def __init__(self, objects: Objects, url_for: Callable[[str], str], add_log_line: AddLogLine) -> None:
        self._objects = objects
        self._url_for = url_for
        self._add_log_line = add_log_line
        self._slots = asyncio.Semaphore(PARALLEL)
        self._numbers = itertools.count()
        self._waiting = 0
        self._waiting_bytes = 0

    @property
    def is_behind(self) -> bool:
        """Whether too much waits for an unreachable store to begin new runs."""
        return self._objects.away and (self._waiting >= WAITING_LIMIT or self._waiting_bytes >= WAITING_LIMIT_BYTES)

    async def upload(self, run: Run, value: msgspec.Raw, files: Sequence[FileRef], fds: list[int]) -> msgspec.Raw:
        """Return `value` with the URL of each file at its pointer. The descriptors are closed in any case.

        Raise RunFailed, also if the run is stopped meanwhile.
        """
        handed = [PassedFile(fd) for fd in fds]
        try:
            urls = await unless_stopped(run, self._upload_all(run, files, handed)) if files else []
        finally:
            await finish_in_thread(_close, handed)
        if not files:
            return value
        decoded = msgspec.json.decode(value)
        try:
            for ref, url in zip(files, urls, strict=True):
                decoded = set_at(decoded, ref.pointer, url)
        except PointerError:
            raise RunFailed("The output has no place for one of its files.", ErrorCode.MODEL_ERROR) from None
        return msgspec.Raw(msgspec.json.encode(decoded))

    async def _upload_all(self, run: Run, files: Sequence[FileRef], handed: Sequence[PassedFile]) -> list[str]:
        """Return the URLs in order. The first failure cancels the others."""
        budget = RetryBudget(on_wait=lambda: self._add_log_line(run, WAITS))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._upload_one(run, ref, file, budget), name=f"output {run.job.id}")
                    for ref, file in zip(files, handed, strict=True)
                ]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _upload_one(self, run: Run, ref: FileRef, file: PassedFile, budget: RetryBudget) -> str:
        name = safe_name(ref.name)
        # Keys differ by attempt and file: the late upload of a lost attempt must not replace a recorded file.
        key = f"outputs/{run.job.id}/{run.job.attempt}-{next(self._numbers)}/{name}"
        try:
            size = file.size()
            with self._counted(size):
                async with self._slots:
                    head = await finish_in_thread(file.read_at, 0, HEAD_BYTES)
                    await self._store(key, file, size, content_type(name, head), budget)
        except ObjectStoreError as error:
            log().warning("output not stored", action="upload", prediction=run.job.id, error=str(error))
            message = f"The output file {name} could not be stored."
            raise RunFailed(message, ErrorCode.OUTPUT_UPLOAD_FAILED) from error
        except OSError as error:
            message = f"The output file {name} cannot be read: {error.strerror}."
            raise RunFailed(message, ErrorCode.MODEL_ERROR) from None
        return self._url_for(key)

    @contextmanager
    def _counted(self, size: int) -> Iterator[None]:
        self._waiting += 1
        self._waiting_bytes += size
        try:
            yield
        finally:
            self._waiting -= 1
            self._waiting_bytes -= size

    async def _store(self, key: str, file: PassedFile, size: int, kind: str, budget: RetryBudget) -> None:
        try:
            await self._objects.store(key, file, size, kind, budget)
        except ObjectStoreError:
            if file.size() < size:  # the client only reports that the body ended early
                raise shrunk() from None
            raise


def _close(handed: Sequence[PassedFile]) -> None:
    for file in handed:
        file.close()
