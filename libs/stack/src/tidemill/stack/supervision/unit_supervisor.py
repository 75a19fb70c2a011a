"""Keeps one unit running: restarts it when its process ends, with a longer delay after each failure in a row."""

import asyncio
import random
import time
from collections.abc import Callable

from tidemill.stack.processes.process import ProcessStartError, describe_exit
from tidemill.stack.supervision import backoff
from tidemill.stack.supervision.unit import Unit


class UnitSupervisor:
    """Supervises a unit that has started. `on_restart` is called after each restart."""

    def __init__(self, unit: Unit, say: Callable[[str], None], on_restart: Callable[[], None]) -> None:
        self.unit = unit
        self.restarts = 0
        self._failures = 0
        self._started = time.monotonic()
        self._say = say
        self._on_restart = on_restart
        self._changing = asyncio.Lock()  # held while a process is started or replaced

    async def replace(self, successor: Unit, *, beside: bool) -> None:
        """Replace the unit. Raise ProcessStartError if the successor does not start; then the old unit keeps running.

        `beside`: the successor starts before the old unit stops; else after, and on failure the old one starts again.
        """
        async with self._changing:
            old = self.unit
            if not beside:
                await old.stop()
            try:
                await successor.start()
            except (ProcessStartError, OSError):
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
            async with self._changing:  # the unit may have been replaced meanwhile
                if not self.unit.process.alive:
                    return

    async def _start(self) -> None:
        self.restarts += 1
        self._started = time.monotonic()
        try:
            await self.unit.start()
        except (ProcessStartError, OSError) as error:
            # A process that runs but is not ready is not restarted: it waits for something, as its readiness shows.
            self._say(str(error))
        else:
            self._say(f"{self.unit.name} is ready again ({self.unit.where})")
        self._on_restart()
