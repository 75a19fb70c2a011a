"""What the supervisor keeps running: a server or a service."""

from pathlib import Path
from typing import Protocol

from tidemill.stack.processes.process import ManagedProcess


class Unit(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def log(self) -> Path: ...

    @property
    def process(self) -> ManagedProcess: ...

    @property
    def where(self) -> str:
        """Its address, for users to read, without secrets."""
        ...

    async def start(self) -> None:
        """Return when it is ready. Raise ProcessStartError."""
        ...

    async def stop(self) -> None: ...

    async def kill(self) -> None: ...


class Server(Unit, Protocol):
    async def probe(self) -> None:
        """Return if it serves a new client. Raise ProbeError or OSError."""
        ...
