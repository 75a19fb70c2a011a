"""The four commands. Each prints for the user and returns an exit status."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tidemill.stack.command_line import logs, status
from tidemill.stack.command_line.logs import UnknownLogError
from tidemill.stack.home import snapshot
from tidemill.stack.home.layout import AlreadyRunningError, Home
from tidemill.stack.home.state_file import StateFile
from tidemill.stack.processes.process import ProcessStartError, is_running
from tidemill.stack.provisioning.catalogue import Catalogue
from tidemill.stack.provisioning.provisioner import StepError
from tidemill.stack.reporting import detach, summary
from tidemill.stack.reporting.detach import ReportPipe
from tidemill.stack.reporting.report import ProgressReport
from tidemill.stack.services.environment import base_url
from tidemill.stack.supervision import orphans, rolling_update
from tidemill.stack.supervision.supervisor import StackOptions, Supervisor

# Longer than the deadlines of all stages of a stop together; after it the supervisor is killed.
DOWN_WITHIN_S = 120.0
DOWN_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class UpRequest:
    port: int | None
    programs: Path
    catalogue: Path | None
    report_descriptor: int | None


def up(home: Home, request: UpRequest) -> int:
    home.prepare()
    channel = ReportPipe(request.report_descriptor) if request.report_descriptor is not None else None
    report = ProgressReport(channel.show if channel else _print, home.log("stack"))
    options = StackOptions(
        environ=os.environ,
        programs=request.programs,
        port=request.port,
        catalogue=Catalogue(request.catalogue) if request.catalogue is not None else None,
    )

    def on_ready() -> None:
        report.tell(_summary(home))
        if channel is not None:
            channel.finish(detach.READY)

    try:
        with home.owned():
            report.say(f"Tidemill starts in {home.path}")
            return asyncio.run(Supervisor(home, options, report, on_ready).run())
    except AlreadyRunningError:
        raise
    except (ProcessStartError, StepError) as error:
        report.say(f"failed: {error}")
        return 1
    except OSError as error:
        report.say(f"failed: {error.filename or home.path}: {error.strerror or error}")
        return 1
    finally:
        if channel is not None:
            channel.finish(detach.FAILED)


def already_up(home: Home, port: int | None) -> int:
    """Replace services whose settings or code have changed, and show the status: a second `up`."""
    current = snapshot.read(home.snapshot_file)
    _print(f"already running in {home.path}")
    failed = 0
    if port is not None and current is not None and current.port != port:
        _print(f"it listens on port {current.port}: run `down` first to change that to {port}")
        failed = 1
    elif current is not None and current.phase == status.READY:
        failed = _update(home, current)
    asyncio.run(status.show(home))
    return failed


def _update(home: Home, current: snapshot.Snapshot) -> int:
    if not current.renews:
        _print("it was started by an older version: run `down` and `up` for this one")
        return 0
    return rolling_update.ask(home, current.pid, os.environ, _print)


def down(home: Home) -> int:
    owner = home.owner()
    if owner is None:
        return _down_without_supervisor(home)
    started = time.monotonic()
    os.kill(owner, signal.SIGTERM)
    if not _wait_until(lambda: home.owner() is None, DOWN_WITHIN_S):
        os.kill(owner, signal.SIGKILL)
        _wait_until(lambda: home.owner() is None, DOWN_WITHIN_S)
        asyncio.run(orphans.end(home))
    # It releases the lock shortly before it ends.
    _wait_until(lambda: not is_running(owner), DOWN_WITHIN_S)
    _print(f"stopped after {time.monotonic() - started:.1f} s")
    return 0


def show_logs(home: Home, name: str | None, lines: int, *, follow: bool) -> int:
    try:
        logs.show(logs.chosen(home, name), lines, follow=follow, show_line=_print)
    except UnknownLogError as error:
        _print(str(error))
        return 1
    return 0


def _down_without_supervisor(home: Home) -> int:
    if not home.path.exists():
        _print(f"not running (home {home.path})")
        return 0
    with home.owned():
        ended = asyncio.run(orphans.end(home))
    _print(f"ended {', '.join(ended)}, left behind by a supervisor that was killed" if ended else "not running")
    return 0


def _summary(home: Home) -> str:
    current = snapshot.read(home.snapshot_file)
    assert current is not None
    return summary.render(base_url(current.port), StateFile(home.state_file).text("token.local") or "", home.env_file)


def _wait_until(done: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(DOWN_POLL_S)
    return True


def _print(text: str) -> None:
    print(text, file=sys.stdout, flush=True)
