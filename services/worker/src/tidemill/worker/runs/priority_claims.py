"""Hints of accounts with urgent predictions: the rows say what runs at them, while a place is kept on the instance."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from tidemill.contracts.events import Job
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.local_queue import LocalQueue
from tidemill.worker.runs.priority_hints import PriorityHints
from tidemill.worker.runs.run import Run
from tidemill.worker.runs.run_tasks import RunTasks
from tidemill.worker.runs.run_writer import RunWriter


class Runs(Protocol):
    """Where what the rows named begins."""

    runs: dict[str, Run]
    turns: PriorityHints

    def lane(self, queue: str) -> LocalQueue: ...
    def dispatch(self, lane: LocalQueue) -> None: ...
    def begin(self, instance: Instance, run: Run) -> None: ...


class PriorityClaims:
    """`give_back` takes what was claimed when the instance cannot begin it any more."""

    def __init__(
        self, runs: Runs, chores: RunTasks, records: RunWriter, give_back: Callable[[Sequence[Run]], Awaitable[None]]
    ) -> None:
        self._runs = runs
        self._chores = chores
        self._records = records
        self._give_back = give_back

    def take(self, instance: Instance, hint: Job) -> None:
        instance.reserved += 1
        self._chores.start(self._take(instance, hint), f"turn {hint.id}")

    async def _take(self, instance: Instance, hint: Job) -> None:
        """The rows say what runs at this hint; it is claimed by then."""
        noted = self._runs.turns.noted(instance.queue, hint.account)
        try:
            taken = await self._records.take(instance.queue, hint)
        finally:
            instance.reserved -= 1
        if not taken.more:
            self._runs.turns.settled(instance.queue, hint.account, noted)
        if taken.job is not None:
            run = Run(taken.job, instance.queue)
            run.claimed = True
            await self._begin_claimed(instance, run)
        self._runs.dispatch(self._runs.lane(instance.queue))

    async def _begin_claimed(self, instance: Instance, run: Run) -> None:
        known = self._runs.runs.get(run.job.id)
        if known is not None:  # by a hint that was repeated
            known.claimed = True
        elif instance.state == "ready" and self._runs.lane(instance.queue).instances.get(instance.id) is instance:
            self._runs.begin(instance, run)
        else:
            await self._give_back([run])
