"""Begins jobs on instances: prepares inputs, sends them to children, and has runs claimed.

A job is sent at once and claimed only if it is still running a moment later: most runs end before a claim would have
been written, and the fence in the database accepts no end of a run that another worker owns (ADR 2).
"""

import msgspec

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.events import Job
from tidemill.contracts.prediction import Status, status_when_stopped
from tidemill.hosting.child.frames import run_frame
from tidemill.runtime.clock import monotonic, now
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.late_claims import LateClaims
from tidemill.worker.runs.local_queue import LocalQueue
from tidemill.worker.runs.ports import EnginePorts
from tidemill.worker.runs.priority_claims import PriorityClaims
from tidemill.worker.runs.run import Run, RunFailed, StopReason
from tidemill.worker.runs.run_ends import RunEnds
from tidemill.worker.runs.run_table import RunTable
from tidemill.worker.runs.run_tasks import RunTasks


class Dispatcher:
    def __init__(
        self, table: RunTable, ends: RunEnds, tasks: RunTasks, priority_claims: PriorityClaims, ports: EnginePorts
    ) -> None:
        self._table = table
        self._ends = ends
        self._tasks = tasks
        self._priority_claims = priority_claims
        self._late_claims = LateClaims(ports.writer, ends)
        self._ports = ports

    def dispatch(self, queue: LocalQueue) -> None:
        """Begin the queue's jobs on its instances while they have room."""
        if queue.jobs and not self._table.is_draining:
            for instance, job in queue.assignments():
                self._begin_job(instance, job)
        self._table.wants_jobs.set()

    def _begin_job(self, instance: Instance, job: Job) -> None:
        if job.id in self._table.runs and not job.priority:  # one with a priority may stand for another prediction
            return
        if self._table.priority_hints.is_contested(instance.queue, job):
            instance.reserved += 1
            self._tasks.start(self._begin_by_priority(instance, job), f"turn {job.id}")
        else:
            self._begin(instance, Run(job, instance.queue))

    async def _begin_by_priority(self, instance: Instance, hint: Job) -> None:
        try:
            run = await self._priority_claims.claim(instance, hint)
        finally:
            instance.reserved -= 1
        if run is not None:
            self._begin(instance, run)
        self.dispatch(self._table.queue(instance.queue))

    def _begin(self, instance: Instance, run: Run) -> None:
        job = run.job
        self._table.runs[job.id] = run
        run.tariff, run.boot = self._ports.tariff(instance.queue), instance.boot_waited_for(job.created_at)
        if job.deadline is not None and job.deadline <= now():
            status = status_when_stopped(Status.PROCESSING if run.claimed else Status.STARTING)
            message = "The deadline passed before the prediction began."
            self._ends.end(run, StopReason(status, message, ErrorCode.DEADLINE))
            return
        run.started_at = now()
        if isinstance(job.input, msgspec.UnsetType) or self._ports.needs_preparation(instance.queue):
            self._late_claims.claim_now(run)
            instance.runs[job.id] = run  # takes its place; it is sent when its input is ready
            self._tasks.append(run, self._prepare_and_send(instance, run))
            return
        self._send(instance, run, bytes(job.input))
        if run.claimed:
            return
        if job.webhook:
            self._late_claims.claim_now(run)
        else:
            self._late_claims.claim_later(instance, run)

    async def _prepare_and_send(self, instance: Instance, run: Run) -> None:
        try:
            body = await self._ports.prepare(instance, run)
        except RunFailed as failure:
            instance.finish(run.job.id, 0, monotonic())
            self._ends.end(run, run.stop or StopReason(Status.FAILED, str(failure), failure.code))
        else:
            if run.job.id not in self._table.runs or run.stop is not None or run.job.id not in instance.runs:
                instance.finish(run.job.id, 0, monotonic())
                if run.stop is not None and run.job.id in self._table.runs:
                    self._ends.end(run, run.stop)
            else:
                run.started_at = now()
                self._send(instance, run, body)
        self.dispatch(self._table.queue(instance.queue))

    def _send(self, instance: Instance, run: Run, body: bytes) -> None:
        """A second attempt shares no batched call: the run may have ended the child, and would take others with it."""
        frame = run_frame(run.job.id, body, run.job.traceparent, alone=run.job.attempt > 1)
        instance.begin(run, frame, monotonic())
