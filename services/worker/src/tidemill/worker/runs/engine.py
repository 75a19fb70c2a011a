"""The engine: what happens here when a job arrives, a child says something, or an instance becomes ready or ends.

It connects the parts of `runs/`, and nothing below calls it: the table holds the state, and the dispatcher, the frame
handler and the requeue work on it.
"""

import asyncio
from typing import Final

import msgspec

from tidemill.contracts.events import Job
from tidemill.contracts.limits import ATTEMPTS
from tidemill.contracts.prediction import Status
from tidemill.hosting.child.failures import ChildFailure
from tidemill.model.wire.text_stream import OwnerIds
from tidemill.runtime.clock import monotonic, now
from tidemill.runtime.telemetry import log
from tidemill.worker.runs.dispatcher import Dispatcher
from tidemill.worker.runs.frame_handler import FrameHandler
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.local_queue import LocalQueue
from tidemill.worker.runs.ports import EnginePorts
from tidemill.worker.runs.priority_claims import PriorityClaims
from tidemill.worker.runs.requeue import Requeue
from tidemill.worker.runs.run import Run, StopReason
from tidemill.worker.runs.run_ends import RunEnds
from tidemill.worker.runs.run_table import RunTable
from tidemill.worker.runs.run_tasks import RunTasks

_decode_job: Final = msgspec.json.Decoder(Job).decode


class Engine:
    """Single-threaded: every method runs on the event loop, and none on the hot path awaits."""

    def __init__(self, table: RunTable, ends: RunEnds, ports: EnginePorts) -> None:
        self._table = table
        self._ends = ends
        self._ports = ports
        self._tasks = RunTasks(ends)
        self._requeue = Requeue(table, ports.writer, ports.discard_inputs)
        priority_claims = PriorityClaims(table, ports.writer, self._requeue)
        self._dispatcher = Dispatcher(table, ends, self._tasks, priority_claims, ports)
        self._frames = FrameHandler(table, ends, self._tasks, ports)

    @property
    def is_behind(self) -> bool:
        """Too many ends wait for the database, or too many files for the object store: no new job is pulled."""
        return self._ports.writer.is_behind or self._ports.uploads_are_behind()

    def on_job(self, queue_name: str, payload: bytes, waiting_at_server: int) -> None:
        queue = self._table.queue(queue_name)
        queue.waiting_at_server = waiting_at_server
        try:
            job = _decode_job(payload)
        except msgspec.DecodeError as error:
            log().warning("garbage job", action="drop", queue=queue_name, error=str(error))
            return
        if job.priority:
            self._table.priority_hints.note(queue_name, [job.account])
        if job.priority or job.id not in self._table.runs:  # else the hint was repeated
            queue.jobs.append(job)
        self._dispatcher.dispatch(queue)

    def on_frames(self, instance: Instance, bodies: list[bytes]) -> None:
        """Raise ValueError or msgspec.DecodeError when the child breaks the protocol: the caller then kills it."""
        for body in bodies:
            self._frames.on_frame(instance, body)
        self._dispatcher.dispatch(self._table.queue(instance.queue))

    def on_text(self, instance: Instance, ids: OwnerIds, text: str) -> None:
        self._frames.on_text(instance, ids, text)

    def on_output_bytes(self, instance: Instance, data: bytes) -> None:
        self._frames.on_output_bytes(instance, data)

    def on_ready(self, instance: Instance) -> None:
        instance.state = "ready"
        instance.idle_since, instance.ready_at = monotonic(), now()
        self._dispatcher.dispatch(self._table.queue(instance.queue))

    def on_exit(self, instance: Instance, ending: ChildFailure) -> None:
        """The child has ended. Runs that it had begun lose an attempt; runs that were only sent ahead do not."""
        queue = self._table.queue(instance.queue)
        queue.instances.pop(instance.id, None)
        begun, waiting = instance.running(), instance.ahead()
        instance.runs.clear()
        self._requeue.put_back([run for run in waiting if not run.claimed])
        if claimed := [run for run in waiting if run.claimed]:
            self._tasks.start(self._unclaim(queue, claimed), "give back")
        if not queue.instances:
            self._table.priority_hints.forget(queue.name)
        for run in begun:
            if run.stop is not None:  # the child was killed because the run did not stop
                self._ends.end(run, run.stop)
            elif ending.final or run.job.attempt >= ATTEMPTS:
                self._ends.end(run, StopReason(Status.FAILED, ending.error, ending.code))
            else:
                self._tasks.append(run, self._begin_next_attempt(queue, run))
        self._dispatcher.dispatch(queue)

    async def _unclaim(self, queue: LocalQueue, runs: list[Run]) -> None:
        await self._requeue.unclaim(runs)
        self._dispatcher.dispatch(queue)

    async def _begin_next_attempt(self, queue: LocalQueue, run: Run) -> None:
        if await self._requeue.begin_next_attempt(run):
            self._dispatcher.dispatch(queue)

    async def wait_until_idle(self) -> None:
        """Return when nothing runs any more."""
        while self._table.runs or self._tasks.is_busy:  # noqa: ASYNC110 - once in a worker's life; an event costs each run
            await asyncio.sleep(0.02)
