"""One instance with what it holds in this worker, from its command until nothing of it is left."""

import asyncio
from typing import Final

from tidemill.worker.instances.child_connection import ChildConnection
from tidemill.worker.runs.instance import Instance

SHOWN_LOG_CHARS: Final = 1500  # of the set-up's log, with the error
GONE_WITHIN_S: Final = 5.0  # a killed process is reaped in milliseconds; its files may then be removed


class ManagedInstance:
    """`environment` is the digest of the one that it runs in; `connection` is there since its process was asked for."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.environment: str | None = None
        self.connection: ChildConnection | None = None

    @property
    def printed(self) -> str:
        """What its model printed while it booted."""
        return "" if self.connection is None else self.connection.log

    def explained(self, error: str) -> str:
        """The error, with the end of what was printed before it."""
        return f"{error}\n{self.printed[-SHOWN_LOG_CHARS:]}".strip()

    def kill(self) -> None:
        if self.instance.child is not None:
            self.instance.child.kill()

    async def process_gone(self) -> None:
        """Waits for the end of a process that was told to end, if there is one; not for ever."""
        if self.connection is not None and self.instance.child is not None:
            await asyncio.wait([self.connection.ended], timeout=GONE_WITHIN_S)
