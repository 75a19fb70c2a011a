"""Makes a version of a training's weights, and the output that names both.

The weights are copied before they are hashed: the model can still change the file that it passed, and a blob must match
its digest.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from tidemill.contracts.api.pushes import BundleFile
from tidemill.contracts.bundle import blob_key
from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.limits import OUTPUT_FILE_LIMIT_BYTES
from tidemill.hosting.child.frames import FileRef
from tidemill.hosting.files.output_names import safe_name
from tidemill.hosting.scratch import Scratch
from tidemill.hosting.threads import finish_in_thread
from tidemill.runtime.db import Database, retry_transient
from tidemill.runtime.objects.store import Objects, ObjectStoreError
from tidemill.security.bundle_paths import BundleError
from tidemill.worker.files.passed_file import PassedFile
from tidemill.worker.files.spool import Spooled, SpoolTooLarge, spool
from tidemill.worker.runs.ports import Upload
from tidemill.worker.runs.run import Run, RunFailed
from tidemill.worker.runs.stopping import unless_stopped
from tidemill.worker.versions import training_store
from tidemill.worker.versions.training_store import TrainingAttempt

FOLDER: Final = "tidemill-trained-weights"  # in the version's directory; authors use no such name
WEIGHTS_POINTERS: Final = ("/weights", "")  # in an output: Cog's TrainingOutput, or the path alone


class TrainingOutputs:
    """Wraps `upload` for the queues of trainings. `trains` says whether a queue is one."""

    def __init__(  # noqa: PLR0917 - the parts of it, wired once in main
        self,
        worker: str,
        database: Database,
        objects: Objects,
        scratch: Scratch,
        upload: Upload,
        trains: Callable[[str], bool],
    ) -> None:
        self._worker = worker
        self._database = database
        self._objects = objects
        self._scratch = scratch
        self._upload = upload
        self._trains = trains

    async def upload(self, run: Run, value: msgspec.Raw, files: Sequence[FileRef], fds: list[int]) -> msgspec.Raw:
        """As `upload`. For a training, add `"version": "owner/name:id"` to the output that names the weights."""
        position = next((n for n, ref in enumerate(files) if ref.pointer in WEIGHTS_POINTERS), None)
        if position is None or not self._trains(run.queue):
            return await self._upload(run, value, files, fds)
        weights = PassedFile(os.dup(fds[position]))
        try:
            uploaded = msgspec.json.decode(await self._upload(run, value, files, fds))
            version = await unless_stopped(run, self._version(run, weights, safe_name(files[position].name)))
        finally:
            await finish_in_thread(weights.close)
        output: dict[str, Any] = uploaded if isinstance(uploaded, dict) else {"weights": uploaded}
        return msgspec.Raw(msgspec.json.encode({**output, "version": version}))

    async def _version(self, run: Run, weights: PassedFile, name: str) -> str:
        """Copy and store the weights, and add the version. Raise RunFailed."""
        copy = self._scratch.fresh()
        try:
            spooled = await self._copy(weights, copy)
            await self._store(copy, spooled)
        except OSError as error:
            raise RunFailed(
                f"The weights cannot be copied: {error.strerror}.", ErrorCode.OUTPUT_UPLOAD_FAILED
            ) from None
        finally:
            await finish_in_thread(copy.unlink, missing_ok=True)
        file = BundleFile(path=f"{FOLDER}/{name}", sha256=spooled.sha256, size=spooled.size)
        attempt = TrainingAttempt(run.job.id, run.job.attempt, self._worker)
        try:
            made = await retry_transient("training", lambda: training_store.add_version(self._database, attempt, file))
        except BundleError as error:
            raise RunFailed(f"The weights make no version: {error}.", ErrorCode.OUTPUT_TOO_LARGE) from None
        if made is None:
            raise RunFailed("The destination of the training is gone.", ErrorCode.MODEL_ERROR)
        return made

    async def _copy(self, weights: PassedFile, copy: Path) -> Spooled:
        with copy.open("xb", buffering=0) as file:
            try:
                size = weights.size()
                return await spool(weights.chunks(0, size), file, limit_bytes=OUTPUT_FILE_LIMIT_BYTES, digest=True)
            except SpoolTooLarge as error:
                raise RunFailed(f"The weights are {error}.", ErrorCode.OUTPUT_TOO_LARGE) from None

    async def _store(self, copy: Path, spooled: Spooled) -> None:
        kept = PassedFile(os.open(copy, os.O_RDONLY | os.O_CLOEXEC))
        try:
            await self._objects.store(blob_key(spooled.sha256), kept, spooled.size, "application/octet-stream")
        except ObjectStoreError as error:
            raise RunFailed("The weights could not be stored.", ErrorCode.OUTPUT_UPLOAD_FAILED) from error
        finally:
            await finish_in_thread(kept.close)
