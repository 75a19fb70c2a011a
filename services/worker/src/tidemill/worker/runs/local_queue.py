"""One queue in this worker: the jobs that were pulled, and the instances that run them. Decides who runs what next."""

from collections import deque
from collections.abc import Iterator

from tidemill.contracts.events import Job
from tidemill.worker.runs.instance import Instance


class LocalQueue:
    """`waiting_at_server`: jobs that no worker has pulled, as the bus reported them last."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: deque[Job] = deque()
        self.instances: dict[str, Instance] = {}
        self.waiting_at_server = 0

    @property
    def room(self) -> int:
        return sum(instance.room for instance in self.instances.values())

    @property
    def wanted(self) -> int:
        """How many jobs to keep requested: no more than can begin now, so that other workers get the rest."""
        return max(0, self.room - len(self.jobs))

    @property
    def waiting(self) -> int:
        return len(self.jobs) + self.waiting_at_server

    def assignments(self) -> Iterator[tuple[Instance, Job]]:
        """Yield jobs with the instances that are to begin them, the emptiest first, while there is room.

        The caller begins each job before it asks for the next: that is what fills the instances.
        """
        while self.jobs:
            free = max(self.instances.values(), key=lambda instance: instance.room, default=None)
            if free is None or free.room == 0:
                return
            for _ in range(min(free.room, len(self.jobs))):
                yield free, self.jobs.popleft()

    def drop_canceled(self, prediction_id: str, attempt: int) -> None:
        """Drop the jobs of this attempt and earlier ones.

        A job with a priority stays: it may stand for another prediction, and the rows are asked when it would begin.
        """
        for job in [job for job in self.jobs if job.id == prediction_id and not job.priority]:
            if job.attempt <= attempt:
                self.jobs.remove(job)
