"""`status`: a table of the units in the supervisor's snapshot, with their readiness now."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidemill.stack.home import snapshot
from tidemill.stack.home.layout import Home
from tidemill.stack.home.snapshot import Snapshot, UnitStatus
from tidemill.stack.processes.process import PROBE_TIMEOUT_S, ProbeError, is_running
from tidemill.stack.services.service_process import not_ready
from tidemill.stack.supervision import orphans
from tidemill.stack.supervision.backing_servers import BackingServers
from tidemill.stack.supervision.unit import Server

HEADINGS = ("NAME", "PID", "UPTIME", "RESTARTS", "STATE", "WHERE")
ROW = "{:<20}{:>8}{:>9}{:>10}  {:<10}{}"
READY = "ready"


@dataclass(frozen=True, slots=True)
class CheckedUnit:
    """A unit, and why it is not ready (None if it is)."""

    part: UnitStatus
    fault: str | None


async def show(home: Home) -> int:
    """Print the table. Return 0 if everything is ready, else 1."""
    owner = home.owner()
    current = snapshot.read(home.snapshot_file)
    if owner is None or current is None:
        left = orphans.names(home)
        behind = f"; {', '.join(left)} still run, left behind by a supervisor that was killed" if left else ""
        print(f"not running (home {home.path}){behind}")
        return 1
    servers = {server.name: server for server in BackingServers(home, {}).units}
    seen = await asyncio.gather(*(check(part, servers) for part in current.parts))
    print(render(current, seen, time.time()))
    return 0 if current.phase == READY and all(item.fault is None for item in seen) else 1


def render(current: Snapshot, seen: Sequence[CheckedUnit], now: float) -> str:
    rows = [_row(item, now) for item in seen]
    faults = [f"{item.part.name}: {item.fault}" for item in seen if item.fault is not None]
    given = [f"{name} names a server of yours" for name in current.given]
    head = f"{current.phase}, {current.base_url}, supervisor pid {current.pid}"
    return "\n".join([head, ROW.format(*HEADINGS), *rows, *given, *faults])


def duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


async def check(part: UnitStatus, servers: Mapping[str, Server]) -> CheckedUnit:
    """Check a unit. Servers are probed like by a new client, since one that runs may still refuse new clients."""
    if part.pid is None or not is_running(part.pid):
        return CheckedUnit(part, "not running")
    if part.ready_url is not None:
        return CheckedUnit(part, await not_ready(part.ready_url))
    return CheckedUnit(part, await _fault(servers[part.name]) if part.name in servers else None)


async def _fault(server: Server) -> str | None:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await server.probe()
    except (ProbeError, OSError) as error:
        return str(error) or type(error).__name__
    return None


def _row(item: CheckedUnit, now: float) -> str:
    part = item.part
    uptime = duration(now - part.started_at) if part.started_at is not None else "-"
    state = READY if item.fault is None else "not ready"
    return ROW.format(part.name, part.pid or "-", uptime, part.restarts, state, part.where)
