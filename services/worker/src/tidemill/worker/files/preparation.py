"""Prepares a run's input: reads it from its row if it was too large for the job, fetches its files, and registers its
secrets for redaction.
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from tidemill.contracts.errors import ErrorCode
from tidemill.runtime.db import Database, retry_transient
from tidemill.runtime.objects.retries import RetryBudget
from tidemill.runtime.tasks import Tasks
from tidemill.worker import store
from tidemill.worker.files.inputs import InputFetcher, InputFetchError
from tidemill.worker.model_output.redaction import secrets_in
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.ports import AddLogLine
from tidemill.worker.runs.queue_versions import QueueVersions
from tidemill.worker.runs.run import Run, RunFailed
from tidemill.worker.runs.stopping import unless_stopped

WAITS: Final = "[The object store is away: the prediction begins when it gives the input's files.]\n"


class InputPreparation:
    """`folder_of` returns the folder for an instance's input files."""

    def __init__(
        self,
        database: Database,
        inputs: InputFetcher,
        queues: QueueVersions,
        folder_of: Callable[[Instance], Path],
        add_log_line: AddLogLine,
    ) -> None:
        self._add_log_line = add_log_line
        self._database = database
        self._inputs = inputs
        self._queues = queues
        self._folder_of = folder_of
        self._folders: dict[str, Path] = {}
        self._removals = Tasks()

    async def prepare(self, instance: Instance, run: Run) -> bytes:
        """Return the input's JSON with local paths for files. Raise RunFailed, also if the run is stopped meanwhile."""
        return await unless_stopped(run, self._prepare(instance, run))

    async def _prepare(self, instance: Instance, run: Run) -> bytes:
        raw = await self._raw(run)
        fields, secrets = self._queues.fields(run.queue), self._queues.secrets(run.queue)
        if not fields and not secrets:
            return raw
        given = msgspec.json.decode(raw)
        if secrets:
            instance.redactor.hide(run.job.id, secrets_in(given, secrets))
        if not fields:
            return raw
        folder = self._folder_of(instance) / run.job.id
        self._folders[run.job.id] = folder
        try:
            budget = RetryBudget(on_wait=lambda: self._add_log_line(run, WAITS))
            ready = await self._inputs.fetch_files(fields, given, folder, run.job.account, budget)
        except InputFetchError as error:
            raise RunFailed(str(error), ErrorCode.INPUT_FETCH_FAILED) from None
        return msgspec.json.encode(ready)

    async def _raw(self, run: Run) -> bytes:
        job = run.job
        if not isinstance(job.input, msgspec.UnsetType):
            return bytes(job.input)
        raw = await retry_transient("input", lambda: store.read_input(self._database, job.id, job.attempt))
        if raw is None:
            raise RunFailed("The prediction has moved on.", ErrorCode.WORKER_LOST)
        return raw

    def discard(self, run: Run) -> None:
        folder = self._folders.pop(run.job.id, None)
        if folder is not None:
            removal = asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            self._removals.start(removal, f"discard inputs of {run.job.id}")
