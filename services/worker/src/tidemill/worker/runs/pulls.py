"""Pulling jobs for every queue that has an instance here, as many as can begin at once."""

from tidemill.runtime.bus import Bus
from tidemill.runtime.job_puller import JobPuller
from tidemill.worker.runs.engine import Engine


class Pulls:
    """One puller for each queue with instances."""

    def __init__(self, bus: Bus, engine: Engine) -> None:
        self._bus = bus
        self._engine = engine
        self._pullers: dict[str, JobPuller] = {}

    async def run(self) -> None:
        """Named task: tops up whenever the engine has room."""
        while True:
            await self._engine.topping.wait()
            self._engine.topping.clear()
            for queue, lane in list(self._engine.lanes.items()):
                if lane.instances:
                    await self._top_up(queue, lane.wanted)
                elif queue in self._pullers:
                    await self._pullers.pop(queue).stop()

    async def _top_up(self, queue: str, wanted: int) -> None:
        puller = self._pullers.get(queue)
        if puller is None:
            if not wanted:
                return
            engine = self._engine
            puller = JobPuller(self._bus, queue, lambda payload, waiting: engine.receive(queue, payload, waiting))
            await puller.start()
            self._pullers[queue] = puller
        await puller.want(0 if self._engine.draining or self._engine.behind else wanted)

    async def stop(self) -> None:
        for puller in self._pullers.values():
            await puller.stop()
        self._pullers.clear()
