"""What the worker hears from one child: first how the boot went, then everything for the engine."""

import asyncio
from collections import deque

import msgspec

from tidemill.hosting.failures import BOOT_LOG_LIMIT_CHARS, BootFailed, describe
from tidemill.hosting.frames import Failed, Log, Ready, decode
from tidemill.model.child_process import Exit
from tidemill.worker.engine import Engine
from tidemill.worker.instance import Instance


class Link:
    """The ChildEvents of one instance (tidemill.model.child_process)."""

    def __init__(self, engine: Engine, instance: Instance) -> None:
        self._engine = engine
        self._instance = instance
        self._log = ""
        self.ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def log(self) -> str:
        """What the model printed while it booted."""
        return self._log

    def on_frames(self, bodies: list[bytes], files: deque[int]) -> None:
        self._instance.fds = files
        try:
            while bodies and not self.ready.done():
                self._on_boot_frame(bodies.pop(0))
            if bodies:
                self._engine.on_frames(self._instance, bodies)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"it sent what is no frame: {error}") from None

    def _on_boot_frame(self, body: bytes) -> None:
        frame = decode(body)
        if isinstance(frame, Ready):
            self.ready.set_result(frame)
        elif isinstance(frame, Failed):
            self.ready.set_exception(BootFailed(frame.error))
        elif isinstance(frame, Log):
            self._add_log(frame.text)
        else:
            raise ValueError(f"it sent {type(frame).__name__} before it was ready")  # noqa: TRY004 - see ChildEvents

    def on_log_bytes(self, data: bytes) -> None:
        if self.ready.done():
            self._engine.on_output_bytes(self._instance, data)
        else:
            self._add_log(data.decode("utf-8", "replace"))

    def _add_log(self, text: str) -> None:
        self._log = (self._log + text)[-BOOT_LOG_LIMIT_CHARS:]

    def on_exit(self, ended: Exit) -> None:
        how = describe(ended)
        if not self.ready.done():
            self.ready.set_exception(BootFailed(f"the model's process ended while it booted: {how}"))
        self._engine.gone(self._instance, how)
        self.ended.set_result(None)
