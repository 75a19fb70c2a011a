"""The connection to one child: frames and printed text, of its boot first and for the engine afterwards."""

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

import msgspec

from tidemill.contracts.errors import ErrorCode
from tidemill.hosting.child.failures import BOOT_LOG_LIMIT_CHARS, BootFailed, ChildFailure, child_failure, describe_exit
from tidemill.hosting.child.frames import DoneFrame, EgressSocketFrame, FailedFrame, HealthFrame, ReadyFrame, decode
from tidemill.model.host.child_events import ChildExit
from tidemill.model.wire import protocol
from tidemill.model.wire.text_stream import OwnerIds
from tidemill.worker.model_output.redaction import Redactor, ends_something
from tidemill.worker.runs.engine import Engine
from tidemill.worker.runs.instance import Instance

PRINTED_BYTES: Final = 4096  # of what was printed last: enough for a process's last words before a crash
HEALTH: Final = b'{"t":"health"'  # as our own child spells it; any other spelling breaks the protocol


class ConnectionOptions(NamedTuple):
    """`secrets` are kept out of logs. `on_way_out` takes the descriptor of the child's network socket."""

    secrets: Collection[str] = ()
    on_way_out: Callable[[int], None] | None = None


NO_OPTIONS: Final = ConnectionOptions()


class ChildConnection:
    """The ChildEvents of one instance (tidemill.model.host.child_events).

    `ready` and `ended` are futures. `crash` says why the child ended if that was its own doing.
    """

    def __init__(
        self,
        engine: Engine,
        instance: Instance,
        kernel_kills: Callable[[], int],
        privileges: ConnectionOptions = NO_OPTIONS,
    ) -> None:
        self._engine = engine
        self._redactor = instance.redactor = Redactor(privileges.secrets)
        self._on_way_out = privileges.on_way_out
        self._instance = instance
        self._kernel_kills = kernel_kills
        self._kill_reason: ChildFailure | None = None  # why the worker killed it
        self._printed = b""
        self._health: asyncio.Future[str | None] | None = None
        self.has_healthcheck = False
        self.crash: ChildFailure | None = None
        self._log = ""
        self._dropped = 0
        self.ready: asyncio.Future[ReadyFrame] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def boot_log(self) -> str:
        """What the model printed while it booted; the beginning of a long log is dropped."""
        dropped = f"[the first {self._dropped} characters were dropped]\n" if self._dropped else ""
        return dropped + self._log

    def on_frames(self, bodies: list[bytes], files: deque[int]) -> None:
        self._instance.fds = files
        try:
            if self._redactor:
                bodies = self._redacted(bodies)
            while bodies and not self.ready.done():
                self._on_boot_frame(bodies.pop(0))
            if self._health is not None:
                bodies = [body for body in bodies if not self._is_health(body)]
            if bodies:
                self._engine.on_frames(self._instance, bodies)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"it sent what is no frame: {error}") from None

    async def check(self) -> str | None:
        """Ask a booted child with a healthcheck. Return what it says is wrong, or None if it is healthy."""
        assert self._instance.child is not None, "a booted instance has a child"
        self._health = asyncio.get_running_loop().create_future()
        self._instance.child.send(protocol.CHECK)
        try:
            return await self._health
        finally:
            self._health = None

    def _is_health(self, body: bytes) -> bool:
        if not body.startswith(HEALTH):
            return False
        frame = decode(body)
        if isinstance(frame, HealthFrame) and self._health is not None and not self._health.done():
            self._health.set_result(frame.error)
        return True

    def kill(self, failure: ChildFailure) -> None:
        """Kill the child. Its runs end with `failure` as the reason. A first reason stays."""
        if self._kill_reason is None and self._instance.child is not None:
            self._kill_reason = failure
            self._instance.child.kill()

    def _on_boot_frame(self, body: bytes) -> None:
        frame = decode(body)
        if isinstance(frame, ReadyFrame):
            self.has_healthcheck = frame.healthcheck
            self.ready.set_result(frame)
        elif isinstance(frame, FailedFrame):
            self.ready.set_exception(BootFailed(frame.error))
        elif isinstance(frame, EgressSocketFrame) and self._on_way_out is not None:
            self._take_socket(self._on_way_out)
        else:
            raise ValueError(f"it sent {type(frame).__name__.removesuffix('Frame')} before it was ready")

    def _take_socket(self, take: Callable[[int], None]) -> None:
        if not self._instance.fds:
            raise ValueError("it announced a socket that did not come with it")
        self._on_way_out = None
        take(self._instance.fds.popleft())

    def note(self, text: str) -> None:
        """Add a line of the platform's own to the boot's log."""
        self._add_log(text)

    def _redacted(self, bodies: list[bytes]) -> list[bytes]:
        """Redact frames. Text that was held back belongs to what a frame ends, so it goes first."""
        for body in bodies:
            if ends_something(body):
                self._release(decode(body))
        return [self._redactor.frame(body) for body in bodies]

    def _release(self, frame: object) -> None:
        if rest := self._redactor.rest():
            self._on_printed(rest)
        for ids, text in self._redactor.rest_of_texts(frame.id if isinstance(frame, DoneFrame) else None):
            self._on_text(ids, text)

    def on_text(self, ids: OwnerIds, text: str) -> None:
        if self._redactor:
            text = self._redactor.piece(ids, text)
        if text:
            self._on_text(ids, text)

    def _on_text(self, ids: OwnerIds, text: str) -> None:
        if self.ready.done():
            self._engine.on_text(self._instance, ids, text)
        else:
            self._add_log(text)

    def on_log_bytes(self, data: bytes) -> None:
        if self._redactor:
            data = self._redactor.log_bytes(data)
        if data:
            self._on_printed(data)

    def _on_printed(self, data: bytes) -> None:
        self._printed = (self._printed + data)[-PRINTED_BYTES:]
        if self.ready.done():
            self._engine.on_output_bytes(self._instance, data)
        else:
            self._add_log(data.decode("utf-8", "replace"))

    def _add_log(self, text: str) -> None:
        whole = self._log + text
        self._log = whole[-BOOT_LOG_LIMIT_CHARS:]
        self._dropped += len(whole) - len(self._log)

    def on_exit(self, ended: ChildExit) -> None:
        self._release(None)
        if self._health is not None and not self._health.done():
            self._health.set_result(None)  # its exit is reported otherwise
        told = self._kill_reason or child_failure(ended, kernel_kills=self._kernel_kills(), printed=self._printed)
        if self._is_crash(ended) or told.code is ErrorCode.OUT_OF_MEMORY:
            self.crash = told
        if not self.ready.done():
            how = (
                describe_exit(ended)
                if told.code is ErrorCode.MODEL_CRASHED and self._kill_reason is None
                else told.error
            )
            self.ready.set_exception(BootFailed(f"the model's process ended while it booted: {how}"))
        self._engine.on_exit(self._instance, told)
        self.ended.set_result(None)

    def _is_crash(self, ended: ChildExit) -> bool:
        """Whether the child ended by its own doing. A plain kill, as of a run that did not stop, is not a crash."""
        broke = ended.poisoned is not None or ended.signal not in {None, signal.SIGKILL}
        return self._kill_reason is not None or broke or ended.code not in {None, 0}
