"""Keeps one unit running: when its process ends it is started again, later each time it fails in a row."""

import asyncio
import random
import time
from collections.abc import Callable

from tidemill.stack.processes.process import StartError, describe_exit
from tidemill.stack.supervision import backoff
from tidemill.stack.supervision.unit import Unit


class UnitSupervisor:
    """Begins with a unit that has started. `changed` is called after each restart."""

    def __init__(self, unit: Unit, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self.unit = unit
        self.restarts = 0
        self._failures = 0
        self._started = time.monotonic()
        self._say = say
        self._changed = changed
        self._changing = asyncio.Lock()  # held while one process follows another

    async def replace(self, successor: Unit, *, beside: bool) -> None:
        """Raises StartError when the successor does not come up; then the old one runs on, or again.

        `beside`: the successor is ready before the old one stops.
        """
        async with self._changing:
            old = self.unit
            if not beside:
                await old.stop()
            try:
                await successor.start()
            except (StartError, OSError):
                await successor.kill()
                if not beside:
                    await old.start()
                raise
            self.unit = successor
            self._failures, self._started = 0, time.monotonic()
            if beside:
                await old.stop()

    async def run(self) -> None:
        while True:
            await self._until_dead()
            self._failures = backoff.failures_after(self._failures, time.monotonic() - self._started)
            delay_s = backoff.delay_s(self._failures, random.random())
            ended = describe_exit(self.unit.process.exit_status)
            self._say(f"{self.unit.name} {ended}; starting it again in {delay_s:.1f} s")
            await asyncio.sleep(delay_s)
            async with self._changing:
                if not self.unit.process.alive:
                    await self._start()

    async def _until_dead(self) -> None:
        while True:
            await self.unit.process.ended()
            async with self._changing:  # it may have been replaced
                if not self.unit.process.alive:
                    return

    async def _start(self) -> None:
        self.restarts += 1
        self._started = time.monotonic()
        try:
            await self.unit.start()
        except (StartError, OSError) as error:
            # One that lives but is not ready is left alone: it waits for something, and says so in its readiness.
            self._say(str(error))
        else:
            self._say(f"{self.unit.name} is ready again ({self.unit.where})")
        self._changed()
