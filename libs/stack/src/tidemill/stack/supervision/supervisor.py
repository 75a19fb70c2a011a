"""Runs the stack: starts servers, then services, then provisions the stack, and stops all in reverse order.

It owns the order and the deadlines, and does not know how a server starts or what a step of provisioning does.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tidemill.stack.home import log_rotation, snapshot
from tidemill.stack.home.layout import Home
from tidemill.stack.home.snapshot import Phase, Snapshot, UnitStatus
from tidemill.stack.home.state_file import StateFile, write_private
from tidemill.stack.processes import ports
from tidemill.stack.processes.process import ProcessStartError
from tidemill.stack.provisioning.catalogue import Catalogue
from tidemill.stack.provisioning.provisioner import Provisioner
from tidemill.stack.reporting import summary
from tidemill.stack.reporting.report import ProgressReport
from tidemill.stack.services import environment
from tidemill.stack.services.environment import StackSettings, base_url
from tidemill.stack.services.service_process import BACKGROUND_SERVICES, GATEWAY, ServiceProcess, ServiceSpec
from tidemill.stack.supervision import orphans, rolling_update
from tidemill.stack.supervision.backing_servers import BackingServers
from tidemill.stack.supervision.rolling_update import RollingUpdate
from tidemill.stack.supervision.unit import Unit
from tidemill.stack.supervision.unit_supervisor import UnitSupervisor

GATEWAY_PORT = "gateway"  # its key in the state file
DEFAULT_PORT = 8300
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    environ: Mapping[str, str]
    programs: Path  # where the console commands of the services are
    port: int | None  # the gateway's port; None: the last one
    catalogue: Catalogue | None


class Supervisor:
    """Use within `home.owned()`. `on_ready` is called once, when `up` is complete."""

    def __init__(self, home: Home, options: StackOptions, report: ProgressReport, on_ready: Callable[[], None]) -> None:
        self._home = home
        self._options = options
        self._report = report
        self._on_ready = on_ready
        self._state = StateFile(home.state_file)
        self._backing = BackingServers(home, options.environ)
        self._stages: list[list[Unit]] = []
        self._unit_supervisors: dict[str, UnitSupervisor] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._background: list[asyncio.Task[None]] = []  # tasks that may outlast `up`, and may end by themselves
        self._signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._phase: Phase = "starting"
        self._port = 0
        self._listener: socket.socket | None = None
        self._rolling_update = RollingUpdate(home, self._unit_supervisors, self._successors, self._swap, report)

    async def run(self) -> int:
        """Run until a signal and return 0. Raise ProcessStartError if something cannot start."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._signals.put_nowait, number)
        loop.add_signal_handler(rolling_update.WAKE, self._rolling_update.asked.set)
        try:
            if await self._unless_signaled(self._bring_up()):
                await self._until_signaled()
            return 0
        finally:
            await self._take_down()

    async def _until_signaled(self) -> None:
        """Return at a signal. No task ends by itself; if one fails, raise its error, which ends the stack."""
        stop = asyncio.create_task(self._signals.get(), name="await a signal")
        done, _ = await asyncio.wait([stop, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        for task in done - {stop}:
            task.result()

    async def _unless_signaled(self, work: Awaitable[None]) -> bool:
        """Await the work; a signal cancels it. Return whether it was completed."""
        task = asyncio.ensure_future(work)
        stop = asyncio.create_task(self._signals.get(), name="await a signal")
        await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return False
        stop.cancel()
        task.result()
        return True

    async def _bring_up(self) -> None:
        self._tasks.append(asyncio.create_task(self._rotate_logs(), name="rotate logs"))
        # Before ports are reserved: orphans may still hold them.
        for name in await orphans.end(self._home):
            self._report.say(f"  ended {name}, left behind by a supervisor that was killed")
        previous_port = self._reserve_port()
        self._write_snapshot()
        for name in self._backing.external_variables:
            self._report.say(f"  using the server of {name}")
        await self._start_stage(self._backing.units)
        shared = environment.shared(self._settings(self._options.environ))
        self._listener = self._listen(shared["TIDEMILL_HOST"])
        *background, gateway = self._services(shared)
        await self._start_stage(background)
        await self._start_stage([gateway])
        provision = Provisioner(self._options.programs, shared, self._port, self._state, self._report)
        await self._provision(provision, shared)
        self._phase = "ready"
        self._tasks.append(asyncio.create_task(self._rolling_update.run(), name="rolling update"))
        self._write_snapshot()
        if previous_port is not None:
            self._report.say(summary.moved(base_url(previous_port), base_url(self._port), self._home.env_file))
        self._on_ready()
        if self._options.catalogue is not None:
            examples = provision.show_examples(self._options.catalogue)
            self._background.append(asyncio.create_task(examples, name="show examples"))

    async def _start_stage(self, units: Sequence[Unit]) -> None:
        self._stages.append(list(units))
        try:
            async with asyncio.TaskGroup() as group:
                for unit in units:
                    group.create_task(self._start(unit), name=f"start {unit.name}")
        except ExceptionGroup as failures:
            # Show one reason: the first failure canceled the other starts.
            raise failures.exceptions[0] from None

    async def _start(self, unit: Unit) -> None:
        async with self._report.waiting(unit.name, lambda: unit.process.not_ready_because) as elapsed:
            await unit.start()
        self._report.say(f"  {unit.name} ready after {elapsed():.1f} s ({unit.where})")
        unit_supervisor = UnitSupervisor(unit, self._report.say, self._write_snapshot)
        self._unit_supervisors[unit.name] = unit_supervisor
        self._tasks.append(asyncio.create_task(unit_supervisor.run(), name=f"keep {unit.name}"))
        self._write_snapshot()

    async def _provision(self, provision: Provisioner, shared: Mapping[str, str]) -> None:
        token = await provision.local_token()
        values = environment.for_commands(shared, self._port, token)
        write_private(self._home.env_file, environment.render_env_file(values, self._options.programs))
        if self._options.catalogue is not None:
            await provision.fill_catalogue(self._options.catalogue)

    def _settings(self, environ: Mapping[str, str]) -> StackSettings:
        return StackSettings(
            user=environ,
            servers=self._backing.variables(),
            home=self._home.path,
            programs=self._options.programs,
            port=self._port,
            signing_key=environ.get("TIDEMILL_SIGNING_KEY") or self._state.secret("signing_key"),
        )

    def _services(self, shared: Mapping[str, str]) -> list[Unit]:
        """Return all services, the gateway last. They are not started."""
        gateway = {**shared, **self._backing.gateway_variables(), "TIDEMILL_PORT": str(self._port)}
        return [
            *(self._service(spec, shared) for spec in BACKGROUND_SERVICES),
            self._service(GATEWAY, gateway, self._listener),
        ]

    def _service(
        self, spec: ServiceSpec, env: Mapping[str, str], listener: socket.socket | None = None
    ) -> ServiceProcess:
        def choose_ops_port() -> int:
            return self._state.port(f"{spec.name}.ops")

        unit_supervisor = self._unit_supervisors.get(spec.name)
        old = unit_supervisor.unit if unit_supervisor is not None else None
        record = old.successors_record if isinstance(old, ServiceProcess) and not spec.exclusive else None
        return ServiceProcess(
            spec, self._home, self._options.programs, env, choose_ops_port, listener=listener, record=record
        )

    def _successors(self, environ: Mapping[str, str]) -> list[ServiceProcess]:
        """Return the services as a new `up` with this environment would start them. Raise ProcessStartError."""
        shared = environment.shared(self._settings(environ))
        fixed = self._backing.differs(environ)
        if shared["TIDEMILL_HOST"] != environment.shared(self._settings(self._options.environ))["TIDEMILL_HOST"]:
            fixed.append("TIDEMILL_HOST")
        if fixed:
            raise ProcessStartError(f"{', '.join(fixed)} changed: run `down` and then `up`")
        return [unit for unit in self._services(shared) if isinstance(unit, ServiceProcess)]

    def _swap(self, old: Unit, successor: Unit) -> None:
        for stage in self._stages:
            stage[:] = [successor if unit is old else unit for unit in stage]
        self._write_snapshot()

    def _listen(self, host: str) -> socket.socket:
        """Return the gateway's socket, open until the stack stops: connections wait while a gateway restarts."""
        try:
            return ports.listen(host, self._port)
        except OSError as error:
            raise ProcessStartError(f"the gateway cannot listen on {host}:{self._port}: {error.strerror}") from None

    def _reserve_port(self) -> int | None:
        """Reserve the gateway's port. Return the previous one if another program has taken it, else None."""
        asked, last = self._options.port, self._state.remembered_port(GATEWAY_PORT)
        if asked is not None:
            if not self._state.take_port(GATEWAY_PORT, asked):
                raise ProcessStartError(f"port {asked} is taken by another program; choose another with --port")
            self._port = asked
            return None
        self._port = self._state.port_from(GATEWAY_PORT, DEFAULT_PORT)
        if last is None or last == self._port:
            return None
        self._report.say(f"  port {last} is taken by another program, so this stack takes {self._port}")
        return last

    async def _rotate_logs(self) -> None:
        while True:
            try:
                await asyncio.to_thread(log_rotation.rotate_all, self._home.log_directory)
            except OSError as error:
                self._report.say(f"  logs cannot be rotated: {error}")
            await asyncio.sleep(log_rotation.CHECK_EVERY_S)

    async def _take_down(self) -> None:
        """Stop the stages in reverse order, the units of one stage together. A further signal kills what is left."""
        self._phase = "stopping"
        self._write_snapshot()
        tasks = [*self._background, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not await self._unless_signaled(self._stop_stages()):
            self._report.say("  killing what is left")
            await asyncio.gather(*(unit.kill() for stage in self._stages for unit in stage))
        self._home.snapshot_file.unlink(missing_ok=True)

    async def _stop_stages(self) -> None:
        if self._listener is not None:
            self._listener.close()  # no other gateway will accept from it
        for stage in reversed(self._stages):
            await asyncio.gather(*(self._stop(unit) for unit in stage))

    async def _stop(self, unit: Unit) -> None:
        if not unit.process.alive:
            return
        async with self._report.waiting(f"{unit.name} to stop") as elapsed:
            await unit.stop()
        self._report.say(f"  {unit.name} stopped after {elapsed():.1f} s")

    def _write_snapshot(self) -> None:
        parts = [self._part(unit) for stage in self._stages for unit in stage]
        current = Snapshot(
            pid=os.getpid(),
            phase=self._phase,
            port=self._port,
            base_url=base_url(self._port),
            given=self._backing.external_variables,
            parts=parts,
            renews=True,
        )
        try:
            snapshot.write(self._home.snapshot_file, current)
        except OSError as error:
            # Only `status` needs it.
            self._report.say(f"  {self._home.snapshot_file} cannot be written: {error.strerror}")

    def _part(self, unit: Unit) -> UnitStatus:
        unit_supervisor = self._unit_supervisors.get(unit.name)
        kind: Literal["server", "service"] = "service" if isinstance(unit, ServiceProcess) else "server"
        return UnitStatus(
            name=unit.name,
            kind=kind,
            where=unit.where,
            pid=unit.process.pid,
            started_at=unit.process.started_at,
            restarts=unit_supervisor.restarts if unit_supervisor else 0,
            ready_url=unit.ready_url if isinstance(unit, ServiceProcess) else None,
        )
