"""A rolling update: a second `up` replaces the services whose settings or code have changed, one after the other.

The second `up` writes its environment to a file and sends the supervisor a signal; the supervisor reports through a
named pipe. If two processes of a service may run at the same time, the new one is ready before the old one stops.
"""

import asyncio
import os
import select
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from tidemill.stack.home.layout import Home
from tidemill.stack.home.state_file import write_private
from tidemill.stack.processes.process import ProcessStartError, is_running
from tidemill.stack.reporting import detach
from tidemill.stack.reporting.report import ProgressReport
from tidemill.stack.services.service_process import ServiceProcess
from tidemill.stack.supervision.unit import Unit
from tidemill.stack.supervision.unit_supervisor import UnitSupervisor

WAKE: Final = signal.SIGUSR1
POLL_S: Final = 0.2

Environ = Mapping[str, str]


class RollingUpdate:
    """The supervisor's side; `run` is one of its tasks.

    `make` returns the services as they would be started now. It raises ProcessStartError if a change needs a new stack.
    `on_swap` is called with the old unit and its successor after each replacement.
    """

    def __init__(
        self,
        home: Home,
        unit_supervisors: Mapping[str, UnitSupervisor],
        make: Callable[[Environ], list[ServiceProcess]],
        on_swap: Callable[[Unit, Unit], None],
        report: ProgressReport,
    ) -> None:
        self._home = home
        self._unit_supervisors = unit_supervisors
        self._make = make
        self._on_swap = on_swap
        self._report = report
        self.asked = asyncio.Event()

    async def run(self) -> None:
        while True:
            await self.asked.wait()
            self.asked.clear()
            await self._answer()

    async def _answer(self) -> None:
        try:
            environ = msgspec.json.decode(_request(self._home).read_bytes(), type=dict[str, str])
            _request(self._home).unlink()
            channel = detach.ReportPipe(os.open(_pipe(self._home), os.O_WRONLY | os.O_NONBLOCK))
        except (OSError, msgspec.DecodeError) as error:  # the second `up` has ended
            self._report.say(f"  a request to renew the services cannot be read: {error}")
            return

        def say(text: str) -> None:
            self._report.say(text)
            channel.show(text)

        try:
            for service in self._make(environ):
                await self._update(service, say)
        except ProcessStartError as error:
            say(f"failed: {error}")
            channel.finish(detach.FAILED)
        else:
            channel.finish(detach.READY)

    async def _update(self, successor: ServiceProcess, say: Callable[[str], None]) -> None:
        """Replace the service if something has changed. Raise ProcessStartError; then the old process keeps running."""
        unit_supervisor = self._unit_supervisors[successor.name]
        old = unit_supervisor.unit
        assert isinstance(old, ServiceProcess)
        changed = old.differs_from(successor)
        if not changed:
            return
        say(f"  replacing {successor.name}: changed: {', '.join(changed)}")
        async with self._report.waiting(successor.name, lambda: successor.process.not_ready_because) as elapsed:
            await unit_supervisor.replace(successor, beside=not successor.spec.exclusive)
        self._on_swap(old, successor)
        say(f"  {successor.name} replaced after {elapsed():.1f} s ({successor.where})")


def ask(home: Home, supervisor: int, environ: Environ, show: Callable[[str], None]) -> int:
    """Ask the supervisor for an update and show its lines: the second `up`'s side. Return the exit status."""
    pipe = _pipe(home)
    with suppress(FileNotFoundError):
        pipe.unlink()
    os.mkfifo(pipe, 0o600)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_private(_request(home), msgspec.json.encode(dict(environ)).decode())
        os.kill(supervisor, WAKE)
        return _relay(reading, supervisor, show)
    finally:
        os.close(reading)
        pipe.unlink(missing_ok=True)


def _relay(reading: int, supervisor: int, show: Callable[[str], None]) -> int:
    poll: Any = select.poll()
    poll.register(reading, select.POLLIN)
    text = b""
    while True:
        if poll.poll(POLL_S * 1000):
            text += os.read(reading, 65_536)
        *lines, text = text.split(b"\n")
        for line in lines:
            if line.decode() in {detach.READY, detach.FAILED}:
                return 0 if line.decode() == detach.READY else 1
            show(line.decode(errors="replace"))
        if not is_running(supervisor):
            show("the supervisor ended meanwhile")
            return 1


def _request(home: Home) -> Path:
    return home.path / "renewal.json"


def _pipe(home: Home) -> Path:
    return home.path / "renewal.pipe"
