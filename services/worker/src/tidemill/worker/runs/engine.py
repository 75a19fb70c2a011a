"""The worker's heart: jobs in, runs on instances, ends out. It holds the state; records, pulls and children do the I/O.

A job is started at once and claimed only if it is still running a moment later: most runs end before a claim would
have been written, and no end counts that the fence does not accept (ADR 2).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

import msgspec
from prometheus_client import Counter

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.events import Cancel, Job
from tidemill.contracts.limits import ATTEMPTS
from tidemill.contracts.prediction import Status
from tidemill.hosting.failures import Ending
from tidemill.hosting.frames import Done, run_frame
from tidemill.runtime.billing import Tariff
from tidemill.runtime.clock import monotonic, now
from tidemill.runtime.telemetry import log, record
from tidemill.worker.runs.claims import Claims
from tidemill.worker.runs.hearing import Chunk, Hearing, Upload
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.lanes import QueueLane
from tidemill.worker.runs.records import Records
from tidemill.worker.runs.run import Refused, Run, Stop
from tidemill.worker.runs.turns import Turns

WATCH_S: Final = 0.25  # how often deadlines, time limits and stubborn runs are looked at
ENDED: Final = Counter("tidemill_worker_runs_total", "Runs that ended by their child's word", ["status"])
_decode_job: Final = msgspec.json.Decoder(Job).decode

# Makes a job's input ready for the child: reads it from its row when it was too large for the job, and brings files.
Prepare = Callable[[Instance, Run], Awaitable[bytes]]


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine calls on. `needs_preparation` tells, at no cost, whether a queue's inputs hold files."""

    records: Records
    needs_preparation: Callable[[str], bool]
    tariff: Callable[[str], Tariff | None]
    prepare: Prepare
    upload: Upload
    discard_inputs: Callable[[Run], None]
    chunk: Chunk


class Engine:
    """Single-threaded: every method runs on the event loop and none of the hot ones awaits."""

    def __init__(self, worker: str, ports: Ports, *, time_limit_s: float, kill_after_s: float) -> None:
        self.worker = worker
        self.lanes: dict[str, QueueLane] = {}
        self.runs: dict[str, Run] = {}
        self.turns = Turns()
        self.draining = False
        self.time_limits: Mapping[str, float] = {}  # of accounts that have their own
        self.topping = asyncio.Event()  # set when some lane may want more jobs
        self._ports = ports
        self._time_limit_s = time_limit_s
        self._kill_after_s = kill_after_s
        self._claims = Claims(lambda run: ports.records.claim(run, self._lost))
        self._hearing = Hearing(self, ports.upload, ports.chunk)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def behind(self) -> bool:
        """Ends wait for a database that is slow or away: nothing new is begun."""
        return self._ports.records.behind

    # Jobs

    def lane(self, queue: str) -> QueueLane:
        if queue not in self.lanes:
            self.lanes[queue] = QueueLane(queue)
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

    def dispatch(self, lane: QueueLane) -> None:
        if not self.draining:
            lane.dispatch(self._start)
        self.topping.set()

    def _start(self, instance: Instance, job: Job) -> None:
        if job.id in self.runs and not job.priority:  # one with a priority may stand for another
            return
        if self.turns.contested(instance.queue, job):
            instance.reserved += 1
            self._own(self._take_turn(instance, job), f"turn {job.id}")
        else:
            self._begin(instance, Run(job, instance.queue))

    async def _take_turn(self, instance: Instance, hint: Job) -> None:
        """The rows say what runs at this hint; it is claimed by then."""
        noted = self.turns.noted(instance.queue, hint.account)
        try:
            taken = await self._ports.records.take(instance.queue, hint)
        finally:
            instance.reserved -= 1
        if not taken.more:
            self.turns.settled(instance.queue, hint.account, noted)
        if taken.job is not None:
            run = Run(taken.job, instance.queue)
            run.claimed = True
            await self._begin_claimed(instance, run)
        self.dispatch(self.lane(instance.queue))

    async def _begin_claimed(self, instance: Instance, run: Run) -> None:
        known = self.runs.get(run.job.id)
        if known is not None:  # by a hint that was repeated
            known.claimed = True
        elif instance.state == "ready" and self.lane(instance.queue).instances.get(instance.id) is instance:
            self._begin(instance, run)
        else:
            await self._give_back([run])

    def _begin(self, instance: Instance, run: Run) -> None:
        job = run.job
        self.runs[job.id] = run
        run.tariff, run.boot = self._ports.tariff(instance.queue), instance.boot_waited_for(job.created_at)
        if job.deadline is not None and job.deadline <= now():
            status = Status.CANCELED if run.claimed else Status.ABORTED
            self.end(run, Stop(status, "The deadline passed before the prediction began.", ErrorCode.DEADLINE))
            return
        run.started_at = now()
        if isinstance(job.input, msgspec.UnsetType) or self._ports.needs_preparation(instance.queue):
            self._claims.at_once(run)
            instance.runs[job.id] = run  # takes its place; it is sent when its input is ready
            self.then(run, self._prepare_and_begin(instance, run))
            return
        self._send(instance, run, bytes(job.input))
        if run.claimed:
            return
        if job.webhook:
            self._claims.at_once(run)
        else:
            self._claims.later(instance, run)

    async def _give_back(self, runs: list[Run]) -> None:
        """Claimed and never begun: they wait again, here for the next instance, and for all workers in the rows."""
        for run in runs:
            self.runs.pop(run.job.id, None)
        back = await self._ports.records.unclaim(runs)
        for run in reversed(runs):
            if run.job.id in back:
                self.lane(run.queue).jobs.appendleft(run.job)
        self.dispatch(self.lane(runs[0].queue))

    async def _prepare_and_begin(self, instance: Instance, run: Run) -> None:
        try:
            body = await self._ports.prepare(instance, run)
        except Refused as refused:
            instance.finish(run.job.id, 0, monotonic())
            self.end(run, Stop(Status.FAILED, str(refused), refused.code))
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
            self.stop(run, Stop(Status.CANCELED))

    # What children say

    def on_frames(self, instance: Instance, bodies: list[bytes]) -> None:
        """Raises ValueError or msgspec.DecodeError when the child breaks the rules: its caller then kills it."""
        for body in bodies:
            self._hearing.on_frame(instance, body)
        self.dispatch(self.lane(instance.queue))

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

    def end(self, run: Run, stop: Stop) -> None:
        self._close_run(run)
        if not run.lost:
            self._ports.records.end(run.end(self.worker, stop, now()), run.seq)

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
            self.stop(run, Stop(Status.CANCELED))
        for lane in self.lanes.values():
            # A hint with a priority may stand for another prediction: the rows are asked when its turn comes.
            hints = [job for job in lane.jobs if job.id == cancel.id and not job.priority]
            for job in [job for job in hints if job.attempt <= cancel.attempt]:
                lane.jobs.remove(job)

    def stop(self, run: Run, stop: Stop) -> None:
        """Cooperative first; `watch` kills the child when that does not help."""
        if run.stop is not None:
            return
        run.stop, run.stop_since = stop, monotonic()
        instance = self._instance_of(run)
        if instance is not None and instance.child is not None:
            instance.child.cancel(run.job.id)

    def _instance_of(self, run: Run) -> Instance | None:
        for instance in self.lane(run.queue).instances.values():
            if instance.runs.get(run.job.id) is run:
                return instance
        return None

    async def watch(self) -> None:
        """Named task: deadlines, time limits, and children that do not stop."""
        while True:
            await asyncio.sleep(WATCH_S)
            moment = now()
            for run in list(self.runs.values()):
                if run.stop is not None:
                    self._end_if_stubborn(run, run.stop)
                elif run.job.deadline is not None and run.job.deadline <= moment:
                    self.stop(run, Stop(Status.CANCELED, None, ErrorCode.DEADLINE))
                elif run.claimed and moment - run.started_at > (limit := self._limit_s(run)):
                    message = f"The prediction ran longer than the time limit of {limit:g} s."
                    self.stop(run, Stop(Status.FAILED, message, ErrorCode.TIME_LIMIT))

    def _limit_s(self, run: Run) -> float:
        return min(self._time_limit_s, self.time_limits.get(run.job.account, self._time_limit_s))

    def limit_times(self, by_account: Mapping[str, float]) -> None:
        self.time_limits = by_account

    def _end_if_stubborn(self, run: Run, stop: Stop) -> None:
        if monotonic() - run.stop_since < self._kill_after_s:
            return
        instance = self._instance_of(run)
        if instance is not None and instance.goes_on_without(run):
            del instance.runs[run.job.id]  # what the child still says of it is nobody's
            self.end(run, stop)
        elif instance is not None and instance.child is not None:
            log().warning("killing", action="kill", instance=instance.id, prediction=run.job.id)
            instance.child.kill()

    # Instances

    def ready(self, instance: Instance) -> None:
        instance.state = "ready"
        instance.idle_since, instance.ready_at = monotonic(), now()
        self.dispatch(self.lane(instance.queue))

    def gone(self, instance: Instance, ending: Ending) -> None:
        """The child has ended. What it was at loses an attempt; what was only sent ahead loses nothing."""
        lane = self.lane(instance.queue)
        lane.instances.pop(instance.id, None)
        begun, waiting = instance.running(), instance.ahead()
        instance.runs.clear()
        for run in reversed([each for each in waiting if not each.claimed]):
            self.runs.pop(run.job.id, None)
            lane.jobs.appendleft(run.job)
        if held := [each for each in waiting if each.claimed]:
            self._own(self._give_back(held), "give back")
        if not lane.instances:
            self.turns.forget(lane.queue)
        for run in begun:
            if run.stop is not None:  # it was killed because it would not stop
                self.end(run, run.stop)
            elif ending.final or run.job.attempt >= ATTEMPTS:
                self.end(run, Stop(Status.FAILED, ending.error, ending.code))
            else:
                self.then(run, self._try_again(lane, run))
        self.dispatch(lane)

    async def _try_again(self, lane: QueueLane, run: Run) -> None:
        self.runs.pop(run.job.id, None)
        self._ports.discard_inputs(run)
        if await self._ports.records.next_attempt([run]):
            lane.jobs.appendleft(msgspec.structs.replace(run.job, attempt=run.job.attempt + 1))
            self.dispatch(lane)

    async def save_progress(self, every_s: float) -> None:
        """Named task: rows of long runs show how far they are."""
        while True:
            await asyncio.sleep(every_s)
            dirty = [run for run in self.runs.values() if run.dirty and run.claimed and not run.lost]
            for run in dirty:
                run.dirty = False
            if dirty:
                await self._ports.records.save(dirty)

    def then(self, run: Run, work: Coroutine[Any, Any, None]) -> None:
        """What takes time for a run happens one after the other, in the order in which the child spoke."""
        before = run.tail

        async def follow() -> None:
            if before is not None:
                await asyncio.wait([before])
            try:
                await work
            except Exception as error:  # noqa: BLE001 - the boundary of what is done for a child
                log().error("run failed here", action="run", prediction=run.job.id, exc_info=error)
                self.end(run, Stop(Status.FAILED, "The worker could not finish the prediction.", ErrorCode.INTERNAL))

        run.tail = self._own(follow(), f"run {run.job.id}")

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def idle(self) -> None:
        """Returns when nothing runs any more."""
        while self.runs or self._tasks:  # noqa: ASYNC110 - once in a worker's life; an event would cost every run
            await asyncio.sleep(0.02)
