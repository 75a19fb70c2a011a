"""Pulls jobs from the bus for every queue that has an instance here, as many as can begin at once."""

from tidemill.runtime.bus import Bus
from tidemill.runtime.job_puller import JobPuller
from tidemill.worker.runs.engine import Engine
from tidemill.worker.runs.run_table import RunTable


class JobPulls:
    """Owns one puller for each queue with instances."""

    def __init__(self, bus: Bus, table: RunTable, engine: Engine) -> None:
        self._bus = bus
        self._table = table
        self._engine = engine
        self._pullers: dict[str, JobPuller] = {}

    async def run(self) -> None:
        """Named task: requests jobs whenever a queue may have room."""
        while True:
            await self._table.wants_jobs.wait()
            self._table.wants_jobs.clear()
            for name, queue in list(self._table.queues.items()):
                if queue.instances:
                    await self._request(name, queue.wanted)
                elif name in self._pullers:
                    await self._pullers.pop(name).stop()

    async def _request(self, name: str, wanted: int) -> None:
        puller = self._pullers.get(name)
        if puller is None:
            if not wanted:
                return
            engine = self._engine
            puller = JobPuller(self._bus, name, lambda payload, waiting: engine.on_job(name, payload, waiting))
            await puller.start()
            self._pullers[name] = puller
        await puller.want(0 if self._table.is_draining or self._engine.is_behind else wanted)

    async def stop(self) -> None:
        for puller in self._pullers.values():
            await puller.stop()
        self._pullers.clear()
