"""Orphans: processes whose supervisor was killed. Only the holder of the lock may end them."""

import asyncio
import signal
from pathlib import Path

from tidemill.stack.home.layout import Home
from tidemill.stack.processes.process import ManagedProcess
from tidemill.stack.services.service_process import SUCCESSOR
from tidemill.stack.supervision.backing_servers import NATS, OBJECTS, POSTGRES

# No drain is waited for: a kill loses nothing that was accepted.
SERVICE_GRACE_S = 5.0
SERVER_GRACE_S = 10.0


def names(home: Home) -> list[str]:
    """Return the names of the orphans that run."""
    services = [(record.stem, record) for record in sorted(home.records.glob("*.json"))]
    servers = [(name, _record(home, name)) for name in (NATS, POSTGRES, OBJECTS)]
    return [_name(name) for name, record in (*services, *servers) if ManagedProcess(record).has_orphan]


async def end(home: Home) -> list[str]:
    """End all orphans, services before servers, as in an orderly stop. Return their names."""
    services = [
        _end(_name(record.stem), record, signal.SIGTERM, SERVICE_GRACE_S) for record in home.records.glob("*.json")
    ]
    ended = await asyncio.gather(*services)
    servers = [
        _end(name, _record(home, name), signal.SIGINT if name == POSTGRES else signal.SIGTERM, grace_s)
        for name, grace_s in ((NATS, SERVER_GRACE_S), (POSTGRES, SERVER_GRACE_S), (OBJECTS, SERVICE_GRACE_S))
    ]
    ended += await asyncio.gather(*servers)
    return [name for name in ended if name is not None]


def _name(stem: str) -> str:
    return stem.removesuffix(SUCCESSOR)


def _record(home: Home, server: str) -> Path:
    return home.data(server) / "process.json"


async def _end(name: str, record: Path, stop_signal: signal.Signals, grace_s: float) -> str | None:
    return name if await ManagedProcess(record).stop_orphan(stop_signal, grace_s) else None
