"""Runs that their instance will not end: its child is gone, or it never began them. They wait again, here or elsewhere,
and those that a child died of lose an attempt.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from tidemill.contracts.limits import ATTEMPTS
from tidemill.contracts.prediction import Status
from tidemill.hosting.child.failures import ChildFailure
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.local_queue import LocalQueue
from tidemill.worker.runs.ports import EnginePorts
from tidemill.worker.runs.priority_hints import PriorityHints
from tidemill.worker.runs.run import Run, StopReason
from tidemill.worker.runs.run_tasks import RunTasks


class Runs(Protocol):
    """Where they return to."""

    runs: dict[str, Run]
    turns: PriorityHints

    def lane(self, queue: str) -> LocalQueue: ...
    def dispatch(self, lane: LocalQueue) -> None: ...
    def end(self, run: Run, stop: StopReason) -> None: ...


class Requeue:
    def __init__(self, runs: Runs, chores: RunTasks, ports: EnginePorts) -> None:
        self._runs = runs
        self._chores = chores
        self._records = ports.records
        self._discard_inputs = ports.discard_inputs

    def gone(self, instance: Instance, ending: ChildFailure) -> None:
        """The child has ended. What it was at loses an attempt; what was only sent ahead loses nothing."""
        lane = self._runs.lane(instance.queue)
        lane.instances.pop(instance.id, None)
        begun, waiting = instance.running(), instance.ahead()
        instance.runs.clear()
        self._wait_again(lane, waiting)
        if not lane.instances:
            self._runs.turns.forget(lane.queue)
        for run in begun:
            if run.stop is not None:  # it was killed because it would not stop
                self._runs.end(run, run.stop)
            elif ending.final or run.job.attempt >= ATTEMPTS:
                self._runs.end(run, StopReason(Status.FAILED, ending.error, ending.code))
            else:
                self._chores.then(run, self._try_again(lane, run))
        self._runs.dispatch(lane)

    def _wait_again(self, lane: LocalQueue, waiting: Sequence[Run]) -> None:
        for run in reversed([each for each in waiting if not each.claimed]):
            self._runs.runs.pop(run.job.id, None)
            lane.jobs.appendleft(run.job)
        if held := [each for each in waiting if each.claimed]:
            self._chores.start(self.give_back(held), "give back")

    async def give_back(self, runs: Sequence[Run]) -> None:
        """Claimed and never begun: they wait again, here for the next instance, and for all workers in the rows."""
        for run in runs:
            self._runs.runs.pop(run.job.id, None)
        back = await self._records.unclaim(runs)
        for run in reversed(runs):
            if run.job.id in back:
                self._runs.lane(run.queue).jobs.appendleft(run.job)
        self._runs.dispatch(self._runs.lane(runs[0].queue))

    async def _try_again(self, lane: LocalQueue, run: Run) -> None:
        self._runs.runs.pop(run.job.id, None)
        self._discard_inputs(run)
        if await self._records.next_attempt([run]):
            lane.jobs.appendleft(msgspec.structs.replace(run.job, attempt=run.job.attempt + 1))
            self._runs.dispatch(lane)
