"""Writes everything about runs, in batches: claims, progress, next attempts, ends and their announcement.

It retries until the database and the bus are reachable again. It drops nothing; the engine takes no new jobs meanwhile.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from tidemill.contracts import subjects
from tidemill.contracts.events import DoneChunk, Job, Lifecycle, WebhookEvent
from tidemill.contracts.prediction import Status
from tidemill.runtime.batch import Batcher
from tidemill.runtime.bus import Announcement, Bus
from tidemill.runtime.clock import now
from tidemill.runtime.db import Database, Row, retry_transient
from tidemill.runtime.predictions import announcements, claims, ending, progress, requeue
from tidemill.runtime.predictions.claims import Claim
from tidemill.runtime.predictions.ending import Ended
from tidemill.runtime.predictions.fences import Attempt
from tidemill.runtime.predictions.outcome import Outcome
from tidemill.runtime.predictions.progress import Progress
from tidemill.worker.runs import urgent_store
from tidemill.worker.runs.run import Run, Unsaved
from tidemill.worker.runs.urgent_store import ClaimedAtHint

BEHIND_LIMIT: Final = 2_000  # ends that may wait to be written before the worker stops taking jobs


class RunWriter:
    def __init__(self, worker: str, database: Database, bus: Bus) -> None:
        self._worker = worker
        self._database = database
        self._claiming, self._ending, self._saving = (
            database.dedicated_connection(),
            database.dedicated_connection(),
            database.dedicated_connection(),
        )
        self._bus = bus
        self._claims: Batcher[Run, Row | None] = Batcher(self._flush_claims)
        self._ends: Batcher[tuple[Outcome, int], bool] = Batcher(self._flush_ends)
        self._announcements: Batcher[tuple[Ended, Outcome], None] = Batcher(self._flush_announcements)
        self._starts: Batcher[tuple[Run, Row], None] = Batcher(self._flush_starts)

    @property
    def is_behind(self) -> bool:
        return len(self._ends) > BEHIND_LIMIT

    def claim(self, run: Run, on_lost: Callable[[Run], None]) -> None:
        """Write the claim. Call `on_lost` if the row belongs to another worker or has ended."""
        run.claimed = True

        def answered(future: asyncio.Future[Row | None]) -> None:
            row = future.result()
            if row is None:
                on_lost(run)
            else:
                self._starts.add((run, row))

        self._claims.add(run).add_done_callback(answered)

    def end(self, ended: Outcome, chunks: int) -> None:
        """Write the end. `chunks` of live output were published: clients that stream wait for the closing chunk."""
        self._ends.add((ended, chunks))

    async def claim_at_hint(self, queue: str, hint: Job) -> ClaimedAtHint:
        """Claim what runs at a hint of an account with urgent predictions."""
        started_at = now()
        claimed = await urgent_store.claim_at_hint(self._database, self._worker, queue, hint, started_at)
        if claimed.job is not None and claimed.row is not None:
            run = Run(claimed.job, queue)
            run.started_at = started_at
            self._starts.add((run, claimed.row))
        return claimed

    async def unclaim(self, runs: Sequence[Run]) -> set[str]:
        """Give back claimed runs that no child has begun. Return the ids that this worker still held."""
        """Give back claimed runs that no child has begun. Return the ids that this worker still held."""
        return await retry_transient("unclaim", lambda: requeue.release(self._saving, self._worker, _attempts(runs)))

    async def save(self, runs: Sequence[Run]) -> None:
        """Save output and logs so far; webhooks are told after that, because their bodies are read from the rows."""
        unsaved = [run.take_unsaved() for run in runs]
        saved = await retry_transient(
            "save", lambda: progress.save(self._saving, self._worker, [_progress(run) for run in runs])
        )
        for run, what in zip(runs, unsaved, strict=True):
            if run.job.id not in saved:
                run.put_back(what)  # the claim is not written yet, or the run has ended and is not saved again
            elif run.job.webhook:
                await self._tell_webhooks(run, what)

    async def _tell_webhooks(self, run: Run, what: Unsaved) -> None:
        for new, event in ((what.items, "output"), (what.logs, "logs")):
            if new:
                await self._bus.send(subjects.WEBHOOK, WebhookEvent(id=run.job.id, event=event))

    async def begin_next_attempts(self, runs: Sequence[Run]) -> set[str]:
        """Begin the next attempt of runs that were lost with their child. Return the ids of those that may go on."""
        """Begin the next attempt of runs that were lost with their child. Return the ids of those that may go on."""
        attempts = _attempts(runs)
        return await retry_transient(
            "next attempt", lambda: requeue.next_attempt_of_own(self._saving, self._worker, attempts)
        )

    async def drained(self) -> None:
        for batcher in (self._claims, self._ends, self._announcements, self._starts):
            await batcher.drained()

    async def _flush_claims(self, runs: Sequence[Run]) -> Sequence[Row | None]:
        batch = [Claim(run.job.id, run.job.attempt, run.started_at) for run in runs]
        claimed = await retry_transient("claim", lambda: claims.claim(self._claiming, self._worker, batch))
        return [claimed.get(run.job.id) for run in runs]

    async def _flush_ends(self, items: Sequence[tuple[Outcome, int]]) -> Sequence[bool]:
        ended = await retry_transient("end", lambda: ending.end(self._ending, [one for one, _ in items]))
        for one, chunks in items:
            if one.id in ended:
                self._announcements.add((ended[one.id], one))
                if chunks:
                    last = DoneChunk(attempt=one.attempt, seq=chunks, status=one.status, error=one.error)
                    await self._bus.send(subjects.output(one.id), last)
        return [one.id in ended for one, _ in items]

    async def _flush_announcements(self, pairs: Sequence[tuple[Ended, Outcome]]) -> Sequence[None]:
        await announcements.announce(self._bus, pairs)
        return [None] * len(pairs)

    async def _flush_starts(self, claimed: Sequence[tuple[Run, Row]]) -> Sequence[None]:
        await self._bus.announce([_started(run, row) for run, row in claimed])
        for run, _ in claimed:
            if run.job.webhook:
                await self._bus.send(subjects.WEBHOOK, WebhookEvent(id=run.job.id, event="start"))
        return [None] * len(claimed)


def _attempts(runs: Sequence[Run]) -> list[Attempt]:
    return [Attempt(run.job.id, run.job.attempt) for run in runs]


def _progress(run: Run) -> Progress:
    return Progress(run.job.id, run.job.attempt, run.output_so_far(), run.logs_so_far(), run.measured_so_far())


def _started(run: Run, row: Row) -> Announcement:
    job = run.job
    event = Lifecycle(
        id=job.id,
        account=job.account,
        model=row["model"],
        version=row["version"],
        status=Status.PROCESSING,
        attempt=job.attempt,
        created_at=job.created_at,
        started_at=run.started_at,
        partial=True,
        traceparent=job.traceparent,
    )
    return announcements.announcement(event, "started", job.gateway, row["kind"])
