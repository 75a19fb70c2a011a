"""The worker's heart: jobs in, runs on instances, ends out. It holds the state; records, pulls and children do the I/O.

A job is started at once and claimed only if it is still running a moment later: most runs end before a claim would
have been written, and no end counts that the fence does not accept (ADR 2).
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

import msgspec
from prometheus_client import Counter

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.events import Cancel, Job
from tidemill.contracts.limits import ATTEMPTS
from tidemill.contracts.prediction import Status
from tidemill.hosting import frames
from tidemill.hosting.frames import Done, Log, Metric, Output, decode, run_frame
from tidemill.runtime.clock import monotonic, now
from tidemill.runtime.telemetry import log, record
from tidemill.worker.instance import Instance
from tidemill.worker.lanes import QueueLane
from tidemill.worker.records import Records
from tidemill.worker.run import Run, Stop, too_large

CLAIM_AFTER_S: Final = 0.005  # a run that ends sooner needs no claim
RECALL_AFTER_S: Final = 0.1  # runs sent ahead are asked back when the one before them takes this long
WATCH_S: Final = 0.25  # how often deadlines, time limits and stubborn runs are looked at
ENDED: Final = Counter("tidemill_worker_runs_total", "Runs that ended by their child's word", ["status"])
_decode_job: Final = msgspec.json.Decoder(Job).decode

# Makes a job's input ready for the child: reads it from its row when it was too large for the job, and brings files.
Prepare = Callable[[Instance, Run], Awaitable[bytes]]
# Replaces the files of a value by the URLs they were uploaded to.
Upload = Callable[[Run, msgspec.Raw, Sequence[frames.FileRef], list[int]], Awaitable[msgspec.Raw]]


class Refused(Exception):  # noqa: N818 - named after the situation
    """A run cannot go on for a reason that its user should read."""

    def __init__(self, message: str, code: ErrorCode) -> None:
        super().__init__(message)
        self.code = code


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine calls on. `needs_preparation` tells, at no cost, whether a queue's inputs hold files."""

    records: Records
    needs_preparation: Callable[[str], bool]
    prepare: Prepare
    upload: Upload
    discard_inputs: Callable[[Run], None]
    chunk: Callable[[Run, frames.Output | frames.Log], None]  # live output for those who stream


class Engine:
    """Single-threaded: every method runs on the event loop and none of the hot ones awaits."""

    def __init__(self, worker: str, ports: Ports, *, time_limit_s: float, kill_after_s: float) -> None:
        self.worker = worker
        self.lanes: dict[str, QueueLane] = {}
        self.runs: dict[str, Run] = {}
        self.draining = False
        self.topping = asyncio.Event()  # set when some lane may want more jobs
        self._ports = ports
        self._time_limit_s = time_limit_s
        self._kill_after_s = kill_after_s
        self._unclaimed: list[tuple[Instance, Run]] = []
        self._claim_timer: asyncio.TimerHandle | None = None
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
        if job.id not in self.runs:  # else the hint was repeated
            lane.jobs.append(job)
        self.dispatch(lane)

    def dispatch(self, lane: QueueLane) -> None:
        if not self.draining:
            lane.dispatch(self._start)
        self.topping.set()

    def _start(self, instance: Instance, job: Job) -> None:
        run = Run(job, instance.queue)
        if job.id in self.runs:
            return
        self.runs[job.id] = run
        if job.deadline is not None and job.deadline <= now():
            self._end(run, Stop(Status.ABORTED, "The deadline passed before the prediction began.", ErrorCode.DEADLINE))
            return
        run.started_at = now()
        if isinstance(job.input, msgspec.UnsetType) or self._ports.needs_preparation(instance.queue):
            self._ports.records.claim(run, self._lost)
            instance.runs[job.id] = run  # takes its place; it is sent when its input is ready
            self._then(run, self._prepare_and_begin(instance, run))
            return
        instance.begin(run, run_frame(job.id, bytes(job.input), job.traceparent), monotonic())
        if job.webhook:
            self._ports.records.claim(run, self._lost)
        else:
            self._claim_later(instance, run)

    async def _prepare_and_begin(self, instance: Instance, run: Run) -> None:
        try:
            body = await self._ports.prepare(instance, run)
        except Refused as refused:
            instance.finish(run.job.id, 0, monotonic())
            self._end(run, Stop(Status.FAILED, str(refused), refused.code))
        else:
            if run.job.id not in self.runs or run.stop is not None or run.job.id not in instance.runs:
                instance.finish(run.job.id, 0, monotonic())
                if run.stop is not None and run.job.id in self.runs:
                    self._end(run, run.stop)
            else:
                run.started_at = now()
                instance.begin(run, run_frame(run.job.id, body, run.job.traceparent), monotonic())
        self.dispatch(self.lane(instance.queue))

    # Claims

    def _claim_later(self, instance: Instance, run: Run) -> None:
        self._unclaimed.append((instance, run))
        if self._claim_timer is None:
            self._claim_timer = asyncio.get_running_loop().call_later(CLAIM_AFTER_S, self._claim_due)

    def _claim_due(self) -> None:
        """Claims what its child is at since CLAIM_AFTER_S; what was sent ahead waits on, or is asked back."""
        self._claim_timer = None
        moment = monotonic()
        left = []
        for instance, run in self._unclaimed:
            if run.claimed or instance.runs.get(run.job.id) is not run:
                continue
            if moment - run.sent >= CLAIM_AFTER_S * 0.9 and run in instance.running():
                run.started_at = now()
                self._ports.records.claim(run, self._lost)
                continue
            if moment - run.sent > RECALL_AFTER_S and not run.recalled and instance.child is not None:
                run.recalled = True
                instance.child.cancel(run.job.id)
            left.append((instance, run))
        self._unclaimed = left
        if left:
            self._claim_timer = asyncio.get_running_loop().call_later(CLAIM_AFTER_S, self._claim_due)

    def _lost(self, run: Run) -> None:
        """Somebody else's by now: the child may stop, and what it still says is thrown away."""
        if self.runs.get(run.job.id) is run:
            run.lost = True
            self._stop(run, Stop(Status.CANCELED))

    # What children say

    def on_frames(self, instance: Instance, bodies: list[bytes]) -> None:
        """Raises ValueError or msgspec.DecodeError when the child breaks the rules: its caller then kills it."""
        for body in bodies:
            frame = decode(body)
            if isinstance(frame, Done):
                self._on_done(instance, frame)
            elif isinstance(frame, Log):
                self._on_log(instance, frame)
            elif isinstance(frame, Output):
                self._on_output(instance, frame)
            elif isinstance(frame, Metric):
                if run := instance.runs.get(frame.id):
                    run.add_metric(frame)
            else:
                raise ValueError(f"unexpected {type(frame).__name__} from a booted child")  # noqa: TRY004 - a protocol error
        self.dispatch(self.lane(instance.queue))

    def _on_log(self, instance: Instance, frame: Log) -> None:
        run = instance.runs.get(frame.id) if frame.id else None
        if run is None:
            log().info("model", action="log", instance=instance.id, text=frame.text[:1000])
            return
        kept = run.add_log(frame.text)
        if kept:
            self._ports.chunk(run, Log(frame.id, kept))

    def on_output_bytes(self, instance: Instance, data: bytes) -> None:
        """What C code or a process of the model's wrote to fd 1 or 2: counted to the run that is on."""
        text = data.decode("utf-8", "replace")
        running = instance.running()
        self._on_log(instance, Log(running[0].job.id if running else None, text))

    def _on_output(self, instance: Instance, frame: Output) -> None:
        run = instance.runs.get(frame.id)
        fds = _take(instance, len(frame.files))
        if run is None:
            _close(fds)
        elif frame.files or run.busy:
            self._then(run, self._upload_item(run, frame, fds))
        else:
            self._add_item(run, frame)

    async def _upload_item(self, run: Run, frame: Output, fds: list[int]) -> None:
        try:
            value = await self._ports.upload(run, frame.value, frame.files, fds)
        except Refused as refused:
            self._stop(run, Stop(Status.FAILED, str(refused), refused.code))
            return
        self._add_item(run, Output(frame.id, value))

    def _add_item(self, run: Run, frame: Output) -> None:
        if run.add_item(bytes(frame.value)):
            self._ports.chunk(run, frame)
        else:
            self._stop(run, too_large())

    def _on_done(self, instance: Instance, frame: Done) -> None:
        fds = _take(instance, len(frame.files))
        run = instance.finish(frame.id, frame.ms, monotonic())
        if run is None:
            _close(fds)
            return
        if run.recalled and run.stop is None and frame.status == "canceled":
            _close(fds)
            self.runs.pop(frame.id, None)
            self.lane(instance.queue).jobs.appendleft(run.job)
            return
        if fds or run.busy:
            self._then(run, self._upload_and_end(run, frame, fds))
        else:
            self._finish(run, frame)

    async def _upload_and_end(self, run: Run, frame: Done, fds: list[int]) -> None:
        try:
            output = await self._ports.upload(run, frame.output, frame.files, fds)
        except Refused as refused:
            self._end(run, Stop(Status.FAILED, str(refused), refused.code))
        else:
            self._finish(run, Done(frame.id, frame.status, output, [], frame.error, frame.ms))

    def _finish(self, run: Run, frame: Done) -> None:
        self._close_run(run)
        if not run.lost:
            completed_at = now()
            # Claims come late, and unclaimed runs were sent ahead perhaps: the child knows how long it took.
            began_at = max(run.job.created_at, completed_at - frame.ms / 1000)
            run.started_at = min(run.started_at, began_at) if run.claimed else began_at
            self._ports.records.end(run.outcome(self.worker, frame, completed_at), run.seq)
            ENDED.labels(frame.status).inc()
            record("run prediction", run.job.traceparent, run.started_at, completed_at)

    def _end(self, run: Run, stop: Stop) -> None:
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
            self._stop(run, Stop(Status.CANCELED))
        for lane in self.lanes.values():
            for job in [job for job in lane.jobs if job.id == cancel.id and job.attempt <= cancel.attempt]:
                lane.jobs.remove(job)

    def _stop(self, run: Run, stop: Stop) -> None:
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
                    self._kill_if_stubborn(run)
                elif run.job.deadline is not None and run.job.deadline <= moment:
                    self._stop(run, Stop(Status.CANCELED, None, ErrorCode.DEADLINE))
                elif run.claimed and moment - run.started_at > self._time_limit_s:
                    message = f"The prediction ran longer than the time limit of {self._time_limit_s:g} s."
                    self._stop(run, Stop(Status.FAILED, message, ErrorCode.TIME_LIMIT))

    def _kill_if_stubborn(self, run: Run) -> None:
        if monotonic() - run.stop_since < self._kill_after_s:
            return
        instance = self._instance_of(run)
        if instance is not None and instance.child is not None:
            log().warning("killing", action="kill", instance=instance.id, prediction=run.job.id)
            instance.child.kill()

    # Instances

    def ready(self, instance: Instance) -> None:
        instance.state = "ready"
        instance.idle_since = monotonic()
        self.dispatch(self.lane(instance.queue))

    def gone(self, instance: Instance, how: str) -> None:
        """The child has ended. What it was at loses an attempt; what was only sent ahead loses nothing."""
        lane = self.lane(instance.queue)
        lane.instances.pop(instance.id, None)
        begun, waiting = instance.running(), instance.ahead()
        instance.runs.clear()
        for run in reversed(waiting):
            self.runs.pop(run.job.id, None)
            lane.jobs.appendleft(run.job)
        for run in begun:
            if run.stop is not None:  # it was killed because it would not stop
                self._end(run, run.stop)
            elif run.job.attempt >= ATTEMPTS:
                self._end(run, Stop(Status.FAILED, f"The model's process ended: {how}.", ErrorCode.MODEL_CRASHED))
            else:
                self._then(run, self._try_again(lane, run))
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

    def _then(self, run: Run, work: Coroutine[Any, Any, None]) -> None:
        """What takes time for a run happens one after the other, in the order in which the child spoke."""
        before = run.tail

        async def follow() -> None:
            if before is not None:
                await asyncio.wait([before])
            try:
                await work
            except Exception as error:  # noqa: BLE001 - the boundary of what is done for a child
                log().error("run failed here", action="run", prediction=run.job.id, exc_info=error)
                self._end(
                    run, Stop(Status.FAILED, "The worker could not finish the prediction.", ErrorCode.WORKER_LOST)
                )

        run.tail = asyncio.create_task(follow(), name=f"run {run.job.id}")
        self._tasks.add(run.tail)
        run.tail.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Returns when nothing runs any more."""
        while self.runs or self._tasks:  # noqa: ASYNC110 - once in a worker's life; an event would cost every run
            await asyncio.sleep(0.02)


def _take(instance: Instance, count: int) -> list[int]:
    if len(instance.fds) < count:
        raise ValueError("a frame announces files that did not come with it")
    return [instance.fds.popleft() for _ in range(count)]


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
