"""An instance together with what it holds in this worker: its environment and the connection to its child."""

import asyncio
from typing import Final

from tidemill.worker.instances.child_connection import ChildConnection
from tidemill.worker.runs.instance import Instance

SHOWN_LOG_CHARS: Final = 1500  # of the boot's log, with the error
GONE_WITHIN_S: Final = 5.0  # a killed process is reaped in milliseconds; its files may then be removed


class ManagedInstance:
    """`environment` is the digest of the environment in use. `connection` is None until a process is forked."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.environment: str | None = None
        self.connection: ChildConnection | None = None

    @property
    def boot_log(self) -> str:
        """What the model printed while it booted."""
        return "" if self.connection is None else self.connection.boot_log

    def with_boot_log(self, error: str) -> str:
        """Return the error, followed by the end of the boot's log."""
        return f"{error}\n{self.boot_log[-SHOWN_LOG_CHARS:]}".strip()

    def kill(self) -> None:
        if self.instance.child is not None:
            self.instance.child.kill()

    async def wait_for_exit(self) -> None:
        """Wait for the process that was told to end, if there is one, for GONE_WITHIN_S at most."""
        if self.connection is not None and self.instance.child is not None:
            await asyncio.wait([self.connection.ended], timeout=GONE_WITHIN_S)
