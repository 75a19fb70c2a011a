"""What the supervisor keeps running, be it a server or a service."""

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
        """Its address for people to read, without secrets."""
        ...

    async def start(self) -> None:
        """Returns when it is ready; raises StartError."""
        ...

    async def stop(self) -> None: ...

    async def kill(self) -> None: ...


class Server(Unit, Protocol):
    async def probe(self) -> None:
        """Returns when it serves a new client; raises ProbeError, OSError."""
        ...
