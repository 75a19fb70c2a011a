"""One queue in this worker: the jobs at hand and the instances that run them. Decides who runs what next."""

from collections import deque
from collections.abc import Callable

from tidemill.contracts.events import Job
from tidemill.worker.runs.instance import Instance


class LocalQueue:
    """Jobs of one queue. `waiting_at_server` is what the bus last said of hints that nobody has pulled."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.jobs: deque[Job] = deque()
        self.instances: dict[str, Instance] = {}
        self.waiting_at_server = 0

    @property
    def room(self) -> int:
        return sum(instance.room for instance in self.instances.values())

    @property
    def wanted(self) -> int:
        """Jobs to keep requested: no more than can begin now, so that other workers get the rest."""
        return max(0, self.room - len(self.jobs))

    @property
    def waiting(self) -> int:
        return len(self.jobs) + self.waiting_at_server

    def dispatch(self, start: Callable[[Instance, Job], None]) -> None:
        """Hands jobs to instances, the emptiest first, while there is room."""
        while self.jobs:
            free = max(self.instances.values(), key=lambda instance: instance.room, default=None)
            if free is None or free.room == 0:
                return
            for _ in range(min(free.room, len(self.jobs))):
                start(free, self.jobs.popleft())
