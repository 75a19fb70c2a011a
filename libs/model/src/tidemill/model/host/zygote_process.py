"""The worker's end of a zygote: starts it for a Python environment and has it fork children.

Standard library only, for asyncio or uvloop. It knows no queues, predictions or deadlines; child_process.py owns the
children.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tidemill.model.host.child_events import ChildEndpoints, ChildEvents
from tidemill.model.host.child_process import ChildProcess
from tidemill.model.wire.spec import BootFrame, ChildSpec

_MODULE: Final = "tidemill.model.process.zygote"  # by name: this process never imports it
_MESSAGE_LIMIT_BYTES: Final = 64 * 1024  # messages are short, except for error texts of failed imports
_READY_WITHIN_S: Final = 120.0  # with a cold page cache torch's gigabytes come at the speed of the disk
_LEAVE_WITHIN_S: Final = 5.0  # it kills its children within 2 s


class ZygoteDiedError(Exception):
    """The zygote has ended, and all its children with it."""


class ForkRefusedError(Exception):
    """The zygote could not fork: the machine is out of processes or memory, or the specification is invalid."""


@dataclass
class _PendingFork:
    endpoints: ChildEndpoints
    events: ChildEvents
    child: "asyncio.Future[ChildProcess]"


@dataclass
class ZygoteProcess:
    """A running zygote, made by `start()`. `failed_modules`: the error of each preload that could not be imported."""

    process: asyncio.subprocess.Process
    modules: dict[str, float] = field(default_factory=dict)  # ms of import
    failed_modules: dict[str, str] = field(default_factory=dict)

    @classmethod
    async def start(cls, python: str, *, preload: Iterable[str], env: Mapping[str, str]) -> "ZygoteProcess":
        """Start a zygote and wait until it is ready. Raise ZygoteDiedError if it does not become ready.

        `env` is its whole environment. Every child can read it, so it must hold no secrets. Its PYTHONPATH must contain
        the directory of make_runtime_path().
        """
        worker_end, zygote_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        worker_end.settimeout(0)
        options = ["--socket-fd", str(zygote_end.fileno()), "--preload", ",".join(preload)]
        try:
            process = await asyncio.create_subprocess_exec(
                python,
                "-m",
                _MODULE,
                *options,
                env=dict(env),
                cwd="/",
                stdin=subprocess.DEVNULL,
                pass_fds=[zygote_end.fileno()],
                start_new_session=True,  # the worker handles Ctrl-C and the stop signal of a service manager
            )
        except BaseException:
            worker_end.close()
            raise
        finally:
            zygote_end.close()
        zygote = cls(process)
        zygote._listen(worker_end)
        try:
            await asyncio.wait_for(asyncio.shield(zygote._ready), _READY_WITHIN_S)
        except BaseException:
            await zygote.close()
            raise
        return zygote

    def _listen(self, worker_end: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = worker_end
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self.dead: asyncio.Future[None] = self._loop.create_future()
        self._forks: dict[int, _PendingFork] = {}
        self._children: dict[int, ChildProcess] = {}
        self._last_id = 0
        self._requests = asyncio.Lock()
        self._loop.add_reader(worker_end.fileno(), self._on_message)

    async def fork(self, spec: ChildSpec, boot: BootFrame, events: ChildEvents) -> ChildProcess:
        """Fork a child, which then enters its sandbox and boots; its first frame is `way_out`, `ready` or `failed`.

        Raise ForkRefusedError or ZygoteDiedError.
        """
        if self.dead.done():
            raise ZygoteDiedError("the zygote has ended")
        self._last_id += 1
        identifier = self._last_id
        endpoints, child_ends = _make_endpoints()
        fork = self._forks[identifier] = _PendingFork(endpoints, events, self._loop.create_future())
        try:
            try:
                await self._request({"t": "fork", "id": identifier, "spec": spec.to_json()}, child_ends)
            finally:
                for descriptor in child_ends:
                    os.close(descriptor)
            child = await fork.child
        except BaseException:
            # The caller gave up. If the zygote forks the child all the same, _on_forked kills it.
            fork.child.cancel()
            endpoints.close()
            raise
        child.send(json.dumps(boot.to_frame()).encode())
        return child

    async def _request(self, message: dict[str, Any], descriptors: list[int]) -> None:
        data = json.dumps(message).encode()
        async with self._requests:
            while True:
                try:
                    socket.send_fds(self._socket, [data], descriptors)
                except BlockingIOError:
                    await self._writable()
                except OSError as error:
                    raise ZygoteDiedError(f"the zygote cannot be reached: {error}") from error
                else:
                    return

    async def _writable(self) -> None:
        writable = self._loop.create_future()
        self._loop.add_writer(self._socket.fileno(), _resolve, writable)
        try:
            await asyncio.wait({writable, self.dead}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not self.dead.done():
                self._loop.remove_writer(self._socket.fileno())

    def _on_message(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, _MESSAGE_LIMIT_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except ConnectionError:
            data, descriptors = b"", []
        if not data:
            self._on_death()
            return
        message = json.loads(data)
        kind = message["t"]
        if kind == "ready":
            self.modules, self.failed_modules = message["modules"], message["failed"]
            self._ready.set_result(None)
        elif kind == "forked":
            self._on_forked(message["id"], message["pid"], descriptors[0])
        elif kind == "refused":
            self._on_refused(message["id"], message["error"])
        elif kind == "exited":
            child = self._children.pop(message["id"], None)
            if child is not None:
                child.finish(message["code"], message["signal"], message["max_rss_kb"])

    def _on_forked(self, identifier: int, pid: int, pidfd: int) -> None:
        fork = self._forks.pop(identifier)
        if fork.child.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
            return
        child = ChildProcess(pid, pidfd, fork.endpoints, fork.events)
        self._children[identifier] = child
        fork.child.set_result(child)

    def _on_refused(self, identifier: int, error: str) -> None:
        fork = self._forks.pop(identifier)
        if not fork.child.done():
            fork.child.set_exception(ForkRefusedError(error))

    def _on_death(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        if not self._ready.done():
            self._ready.set_exception(ZygoteDiedError("the zygote ended before it was ready; its stderr says why"))
        for fork in self._forks.values():
            if not fork.child.done():
                fork.child.set_exception(ZygoteDiedError("the zygote ended during the fork"))
        self._forks.clear()
        for child in self._children.values():
            child.kill_and_watch()
        self._children.clear()
        self.dead.set_result(None)

    async def close(self) -> None:
        """End the zygote and its children, and wait for its exit. May be called twice."""
        if not self.dead.done():
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)  # it still reports the exits of its children
        try:
            await asyncio.wait_for(self.process.wait(), _LEAVE_WITHIN_S)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        await self.dead
        if self._ready.done() and not self._ready.cancelled():
            self._ready.exception()  # mark it as retrieved: the waiter has got it, or there was none


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _make_endpoints() -> tuple[ChildEndpoints, list[int]]:
    """Return the worker's ends, and the child's descriptors: data, control, log, text."""
    data, child_data = socket.socketpair()
    control, child_control = socket.socketpair()
    log, child_log = os.pipe2(os.O_CLOEXEC)
    text, child_text = os.pipe2(os.O_CLOEXEC)
    data.settimeout(0)
    control.settimeout(0)
    for descriptor in (log, text):
        os.set_blocking(descriptor, False)  # the child's end stays blocking
    return ChildEndpoints(data, control, log, text), [
        child_data.detach(),
        child_control.detach(),
        child_log,
        child_text,
    ]
