"""One process of the stack: started with its own session and log, watched, stopped, and killed with its descendants.

A record file names the process, so that one whose supervisor was killed (an orphan) is found and ended before the next
one starts on the same data. Never signals a process unless the record proves that it is its own.
"""

import asyncio
import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tidemill.stack.processes.os_accounts import OsAccount

POLL_S = 0.02
SLOW_POLL_S = 0.25
PROBE_TIMEOUT_S = 5.0
# From SIGKILL until the kernel has cleaned up a process with gigabytes mapped.
KILL_WAIT_S = 10.0
TAIL_LINES = 12
TAIL_READ_BYTES = 16_384

Probe = Callable[[], Awaitable[object]]


class ProcessStartError(Exception):
    """A process did not become ready. The message holds the reason and the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How one program is started and stopped. `env` is the whole environment: none is inherited."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace_s: float = 10.0
    account: OsAccount | None = None
    inherits: tuple[int, ...] = ()  # file descriptors that it keeps, under the same numbers


class ManagedProcess:
    def __init__(self, record: Path) -> None:
        self._record = record
        self._launch: Launch | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self.started_at: float | None = None
        self.not_ready_because = ""

    @property
    def pid(self) -> int | None:
        return self._popen.pid if self._popen is not None and self.alive else None

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def exit_status(self) -> int | None:
        return self._popen.poll() if self._popen is not None else None

    def pids(self) -> list[int]:
        """Return the process and its descendants, parents first."""
        if self._popen is None or not self.alive:
            return []
        return [process.pid for process in _tree(self._popen.pid)]

    async def ended(self) -> None:
        """Return when the process has ended. On Linux waiting costs nothing."""
        if self._popen is None or not self.alive:
            return
        try:
            descriptor = os.pidfd_open(self._popen.pid)
        except (AttributeError, OSError):  # not Linux, or an old kernel
            await _until(lambda: not self.alive, math.inf, poll_s=SLOW_POLL_S)
            return
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(descriptor, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    async def start(self, launch: Launch, probe: Probe, within_s: float) -> None:
        """Start the program and return when the probe succeeds. Raise ProcessStartError if it ends or is too slow."""
        self._spawn(launch)
        await self._wait_ready(probe, within_s)

    def _spawn(self, launch: Launch) -> None:
        assert not self.alive
        self._launch = launch
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        # With O_APPEND the rotation can truncate the log while the process writes it.
        with launch.log.open("ab") as log:
            account = launch.account
            self._popen = subprocess.Popen(
                launch.argv,
                env=dict(launch.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # The account may have no access to the current directory.
                cwd="/",
                # A Ctrl-C in the terminal reaches the supervisor alone, which stops all in order.
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                pass_fds=launch.inherits,
            )
        self.started_at = time.time()
        _write_record(self._record, self._popen.pid)

    async def _wait_ready(self, probe: Probe, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        self.not_ready_because = "no answer yet"
        while True:
            if not self.alive:
                raise self._start_error(f"it {describe_exit(self.exit_status)}")
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    await probe()
            except (OSError, TimeoutError, ProbeError) as error:
                self.not_ready_because = str(error) or type(error).__name__
            else:
                self.not_ready_because = ""
                return
            if time.monotonic() >= deadline:
                raise self._start_error(f"not ready after {within_s:.0f} s: {self.not_ready_because}")
            await asyncio.sleep(POLL_S)

    async def stop(self) -> None:
        """Send the stop signal, wait for the grace time, then kill."""
        if self._popen is not None and self._launch is not None and self.alive:
            self._popen.send_signal(self._launch.stop_signal)
            await _until(lambda: not self.alive, self._launch.stop_grace_s)
        await self.kill()

    async def kill(self) -> None:
        """Kill the process and its descendants with SIGKILL. Return when all have ended."""
        if self._popen is not None:
            await _kill_tree(self._popen)
        self._record.unlink(missing_ok=True)

    @property
    def has_orphan(self) -> bool:
        """Whether a process that an earlier supervisor started on the same data still runs."""
        return not self.alive and _read_record(self._record) is not None

    async def stop_orphan(self, stop_signal: signal.Signals, grace_s: float) -> bool:
        """End the process that an earlier supervisor left behind on the same data. Return whether there was one."""
        left = _read_record(self._record)
        if left is None or self.alive:
            return False
        left.send_signal(stop_signal)
        await _until(lambda: not _runs(left), grace_s)
        await _kill_all(_tree(left.pid) if left.is_running() else [])
        self._record.unlink(missing_ok=True)
        return True

    def _start_error(self, reason: str) -> ProcessStartError:
        assert self._launch is not None
        return ProcessStartError(failure(self._launch.name, reason, self._launch.log))


class ProbeError(Exception):
    """The server answered but is not ready yet."""


def failure(name: str, reason: str, log: Path) -> str:
    lines = tail(log, TAIL_LINES)
    shown = "".join(f"\n  | {line}" for line in lines)
    return f"{name} did not start: {reason} (log: {log}){shown}"


def describe_exit(status: int | None) -> str:
    if status is None:
        return "ended"
    if status >= 0:
        return f"exited with status {status}"
    return f"was killed by {signal.Signals(-status).name}"


def tail(log: Path, lines: int) -> list[str]:
    """Return the last lines of the log, or none if it cannot be read."""
    text = b""
    try:
        with log.open("rb") as file:
            start = file.seek(0, os.SEEK_END)
            while start > 0 and text.count(b"\n") <= lines:
                end, start = start, max(0, start - TAIL_READ_BYTES)
                file.seek(start)
                text = file.read(end - start) + text
    except OSError:
        return []
    return text.decode(errors="replace").splitlines()[-lines:] if lines > 0 else []


async def _kill_tree(popen: subprocess.Popen[bytes]) -> None:
    if popen.poll() is None:
        # A stopped process cannot fork while its children are listed. A signal to the process group would not reach
        # PostgreSQL's children, which have sessions of their own.
        popen.send_signal(signal.SIGSTOP)
        await _kill_all(_tree(popen.pid))
    # Wait until it is reaped: a server that finds its predecessor's pid in the process table refuses to start.
    await _until(lambda: popen.poll() is not None, KILL_WAIT_S)


async def _kill_all(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    await _until(lambda: not any(_runs(process) for process in processes), KILL_WAIT_S)


async def _until(done: Callable[[], bool], within_s: float, *, poll_s: float = POLL_S) -> None:
    deadline = time.monotonic() + within_s
    while True:
        if done() or time.monotonic() >= deadline:
            return
        await asyncio.sleep(poll_s)


def is_running(pid: int) -> bool:
    """Return whether the process exists and is no zombie."""
    try:
        return _runs(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _write_record(path: Path, pid: int) -> None:
    try:
        created = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return
    path.write_text(json.dumps({"pid": pid, "created": created}))


def _read_record(path: Path) -> psutil.Process | None:
    """Return the recorded process if it still runs. Its start time tells it from a later one with the same pid."""
    try:
        record = json.loads(path.read_text())
        process = psutil.Process(record["pid"])
        same = abs(process.create_time() - record["created"]) < 1
    except (FileNotFoundError, ValueError, KeyError, psutil.NoSuchProcess):
        return None
    return process if same and _runs(process) else None
