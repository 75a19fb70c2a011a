"""The worker's heart: jobs in, runs on instances, ends out. It holds the state; records, pulls and children do the I/O.

A job is started at once and claimed only if it is still running a moment later: most runs end before a claim would
have been written, and no end counts that the fence does not accept (ADR 2).
"""

import asyncio
from typing import Final

import msgspec
from prometheus_client import Counter

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.events import Cancel, Job
from tidemill.contracts.prediction import Status, status_when_stopped
from tidemill.hosting.child.failures import ChildFailure
from tidemill.hosting.child.frames import Done, run_frame
from tidemill.model.wire.text_stream import OwnerIds
from tidemill.runtime.clock import monotonic, now
from tidemill.runtime.telemetry import log, record
from tidemill.worker.runs.frame_handler import FrameHandler
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.late_claims import LateClaims
from tidemill.worker.runs.local_queue import LocalQueue
from tidemill.worker.runs.ports import EnginePorts
from tidemill.worker.runs.priority_claims import PriorityClaims
from tidemill.worker.runs.priority_hints import PriorityHints
from tidemill.worker.runs.requeue import Requeue
from tidemill.worker.runs.run import Run, RunFailed, StopReason
from tidemill.worker.runs.run_tasks import RunTasks

ENDED: Final = Counter("tidemill_worker_runs_total", "Runs that ended by their child's word", ["status"])
STOPPED: Final = Counter("tidemill_worker_stopped_runs_total", "Runs that ended otherwise, by error code", ["code"])
_decode_job: Final = msgspec.json.Decoder(Job).decode


class Engine:
    """Single-threaded: every method runs on the event loop and none of the hot ones awaits."""

    def __init__(self, worker: str, ports: EnginePorts) -> None:
        self.worker = worker
        self.lanes: dict[str, LocalQueue] = {}
        self.runs: dict[str, Run] = {}
        self.turns = PriorityHints()
        self.draining = False
        self.topping = asyncio.Event()  # set when some lane may want more jobs
        self._ports = ports
        self._chores = RunTasks(self._could_not_finish)
        self._claims = LateClaims(lambda run: ports.records.claim(run, self._lost))
        self._hearing = FrameHandler(self, self._chores, ports)
        self._returns = Requeue(self, self._chores, ports)
        self._turn_taking = PriorityClaims(self, self._chores, ports.records, self._returns.give_back)

    @property
    def behind(self) -> bool:
        """Ends wait for a database that is slow or away, or files for a store that is: nothing new is begun."""
        return self._ports.records.behind or self._ports.uploads_behind()

    # Jobs

    def lane(self, queue: str) -> LocalQueue:
        if queue not in self.lanes:
            self.lanes[queue] = LocalQueue(queue)
        return self.lanes[queue]

    def receive(self, queue: str, payload: bytes, waiting_at_server: int) -> None:
        lane = self.lane(queue)
        lane.waiting_at_server = waiting_at_server
        try:
            job = _decode_job(payload)
        except msgspec.DecodeError as error:
            log().warning("garbage job", action="drop", queue=queue, error=str(error))
            return
        if job.priority:
            self.turns.note(queue, [job.account])
        if job.priority or job.id not in self.runs:  # else the hint was repeated
            lane.jobs.append(job)
        self.dispatch(lane)

    def dispatch(self, lane: LocalQueue) -> None:
        if not self.draining:
            lane.dispatch(self._start)
        self.topping.set()

    def _start(self, instance: Instance, job: Job) -> None:
        if job.id in self.runs and not job.priority:  # one with a priority may stand for another
            return
        if self.turns.contested(instance.queue, job):
            self._turn_taking.take(instance, job)
        else:
            self.begin(instance, Run(job, instance.queue))

    def begin(self, instance: Instance, run: Run) -> None:
        job = run.job
        self.runs[job.id] = run
        run.tariff, run.boot = self._ports.tariff(instance.queue), instance.boot_waited_for(job.created_at)
        if job.deadline is not None and job.deadline <= now():
            status = status_when_stopped(Status.PROCESSING if run.claimed else Status.STARTING)
            self.end(run, StopReason(status, "The deadline passed before the prediction began.", ErrorCode.DEADLINE))
            return
        run.started_at = now()
        if isinstance(job.input, msgspec.UnsetType) or self._ports.needs_preparation(instance.queue):
            self._claims.at_once(run)
            instance.runs[job.id] = run  # takes its place; it is sent when its input is ready
            self._chores.then(run, self._prepare_and_begin(instance, run))
            return
        self._send(instance, run, bytes(job.input))
        if run.claimed:
            return
        if job.webhook:
            self._claims.at_once(run)
        else:
            self._claims.later(instance, run)

    async def _prepare_and_begin(self, instance: Instance, run: Run) -> None:
        try:
            body = await self._ports.prepare(instance, run)
        except RunFailed as refused:
            instance.finish(run.job.id, 0, monotonic())
            self.end(run, run.stop or StopReason(Status.FAILED, str(refused), refused.code))
        else:
            if run.job.id not in self.runs or run.stop is not None or run.job.id not in instance.runs:
                instance.finish(run.job.id, 0, monotonic())
                if run.stop is not None and run.job.id in self.runs:
                    self.end(run, run.stop)
            else:
                run.started_at = now()
                self._send(instance, run, body)
        self.dispatch(self.lane(instance.queue))

    def _send(self, instance: Instance, run: Run, body: bytes) -> None:
        """What has lost an attempt shares no call again: it may be what ended the child, and the others with it."""
        frame = run_frame(run.job.id, body, run.job.traceparent, alone=run.job.attempt > 1)
        instance.begin(run, frame, monotonic())

    def _lost(self, run: Run) -> None:
        """Somebody else's by now: the child may stop, and what it still says is thrown away."""
        if self.runs.get(run.job.id) is run:
            run.lost = True
            self.stop(run, StopReason(Status.CANCELED))

    # What children say

    def on_frames(self, instance: Instance, bodies: list[bytes]) -> None:
        """Raises ValueError or msgspec.DecodeError when the child breaks the rules: its caller then kills it."""
        for body in bodies:
            self._hearing.on_frame(instance, body)
        self.dispatch(self.lane(instance.queue))

    def on_text(self, instance: Instance, ids: OwnerIds, text: str) -> None:
        self._hearing.on_text(instance, ids, text)

    def on_output_bytes(self, instance: Instance, data: bytes) -> None:
        self._hearing.on_output_bytes(instance, data)

    def off(self, instance: Instance, frame: Done) -> Run | None:
        """Takes a run off its instance; None when it is no run of it, or one that was asked back before it began."""
        run = instance.finish(frame.id, frame.ms, monotonic())
        if run is not None and run.recalled and run.stop is None and frame.status == "canceled":
            self.runs.pop(frame.id, None)
            self.lane(instance.queue).jobs.appendleft(run.job)
            return None
        return run

    def finish(self, run: Run, frame: Done) -> None:
        self._close_run(run)
        if not run.lost:
            completed_at = now()
            # Claims come late, and unclaimed runs were sent ahead perhaps: the child knows how long it took.
            began_at = max(run.job.created_at, completed_at - frame.ms / 1000)
            run.started_at = min(run.started_at, began_at) if run.claimed else began_at
            self._ports.records.end(run.outcome(self.worker, frame, completed_at), run.seq)
            ENDED.labels(frame.status).inc()
            record("run prediction", run.job.traceparent, run.started_at, completed_at)

    def end(self, run: Run, stop: StopReason) -> None:
        self._close_run(run)
        if not run.lost:
            self._ports.records.end(run.end(self.worker, stop, now()), run.seq)
            STOPPED.labels(stop.code or stop.status).inc()

    def _could_not_finish(self, run: Run) -> None:
        self.end(run, StopReason(Status.FAILED, "The worker could not finish the prediction.", ErrorCode.INTERNAL))

    def _close_run(self, run: Run) -> None:
        if self.runs.get(run.job.id) is run:
            del self.runs[run.job.id]
        if run.claimed:
            self._ports.discard_inputs(run)

    # Ends from outside

    async def on_cancel(self, cancel: Cancel) -> None:
        """The row has ended already: only the run is left to stop."""
        run = self.runs.get(cancel.id)
        if run is not None and run.job.attempt <= cancel.attempt:
            run.lost = True
            self.stop(run, StopReason(Status.CANCELED))
        for lane in self.lanes.values():
            # A hint with a priority may stand for another prediction: the rows are asked when its turn comes.
            hints = [job for job in lane.jobs if job.id == cancel.id and not job.priority]
            for job in [job for job in hints if job.attempt <= cancel.attempt]:
                lane.jobs.remove(job)

    def stop(self, run: Run, stop: StopReason) -> None:
        """Cooperative first; the timekeeper kills the child when that does not help."""
        if run.stop is not None:
            return
        run.stop, run.stop_since = stop, monotonic()
        instance = self.instance_of(run)
        if instance is not None and instance.child is not None:
            instance.child.cancel(run.job.id)

    def instance_of(self, run: Run) -> Instance | None:
        for instance in self.lane(run.queue).instances.values():
            if instance.runs.get(run.job.id) is run:
                return instance
        return None

    # Instances

    def instances(self) -> dict[str, Instance]:
        return {key: one for lane in self.lanes.values() for key, one in lane.instances.items()}

    def ready(self, instance: Instance) -> None:
        instance.state = "ready"
        instance.idle_since, instance.ready_at = monotonic(), now()
        self.dispatch(self.lane(instance.queue))

    def gone(self, instance: Instance, ending: ChildFailure) -> None:
        """The child has ended: its runs wait again, or lose an attempt."""
        self._returns.gone(instance, ending)

    async def idle(self) -> None:
        """Returns when nothing runs any more."""
        while self.runs or self._chores.busy:  # noqa: ASYNC110 - once in a worker's life; an event would cost every run
            await asyncio.sleep(0.02)
