"""The table of runs: every run of this worker by prediction id, and every queue with its instances and local jobs.

State only. Only the event loop uses it, so it has no locks. It must never do I/O, start a task or call what uses it.
"""

import asyncio
from collections.abc import Iterator

from tidemill.hosting.child.frames import DoneFrame
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.local_queue import LocalQueue
from tidemill.worker.runs.priority_hints import PriorityHints
from tidemill.worker.runs.run import Run


class RunTable:
    """`wants_jobs` is set when a queue may want more jobs. `is_draining`: the worker begins nothing new."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.runs: dict[str, Run] = {}
        self.queues: dict[str, LocalQueue] = {}
        self.priority_hints = PriorityHints()
        self.is_draining = False
        self.wants_jobs = asyncio.Event()

    def queue(self, name: str) -> LocalQueue:
        """Return the queue of that name, made if need be."""
        if name not in self.queues:
            self.queues[name] = LocalQueue(name)
        return self.queues[name]

    def queues_with_instances(self) -> Iterator[LocalQueue]:
        return (queue for queue in self.queues.values() if queue.instances)

    def instances(self) -> dict[str, Instance]:
        return {key: one for queue in self.queues.values() for key, one in queue.instances.items()}

    def instance_of(self, run: Run) -> Instance | None:
        """Return the instance that has the run, or None if none has it."""
        for instance in self.queue(run.queue).instances.values():
            if instance.runs.get(run.job.id) is run:
                return instance
        return None

    def remove(self, run: Run) -> None:
        """Forget the run. Another run of the same prediction stays."""
        if self.runs.get(run.job.id) is run:
            del self.runs[run.job.id]

    def take_off(self, instance: Instance, frame: DoneFrame, now: float) -> Run | None:
        """Take a run that its child has finished off the instance.

        Return None if the instance has no such run. Also None for a run that was recalled before it began: its job is
        then the first of its queue again.
        """
        run = instance.finish(frame.id, frame.ms, now)
        if run is not None and run.recalled and run.stop is None and frame.status == "canceled":
            self.runs.pop(frame.id, None)
            self.queue(instance.queue).jobs.appendleft(run.job)
            return None
        return run
