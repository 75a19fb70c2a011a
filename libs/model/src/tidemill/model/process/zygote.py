"""A zygote: a process of one Python environment with heavy modules imported, which forks children for the worker.

`python -m tidemill.model.process.zygote --socket-fd N --preload torch,numpy`. It has one thread, never touches a GPU
and runs no model code. Messages on its SOCK_SEQPACKET socket are JSON objects, one per packet:
    worker to zygote   {"t": "fork", "id", "spec"} with four descriptors: data, control, write ends of two pipes
    zygote to worker   {"t": "ready", "pid", "modules": {name: ms}, "failed": {name: error}}
                       {"t": "forked", "id", "pid"} with a pidfd, or {"t": "refused", "id", "error"}
                       {"t": "exited", "id", "code", "signal", "max_rss_kb"}
"""

import argparse
import asyncio  # noqa: F401  imported once here, not in each child of an asynchronous model
import contextlib
import gc
import importlib
import json
import multiprocessing.pool  # noqa: F401  as asyncio
import os
import select
import signal
import socket
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tidemill.model.process import child
from tidemill.model.process.after_fork import Descriptors
from tidemill.model.sandbox import syscalls
from tidemill.model.wire.spec import ChildSpec

_REQUEST_LIMIT_BYTES: Final = 128 * 1024  # a spec holds paths and an environment; a packet must fit the socket buffer
_LEAVE_WITHIN_S: Final = 2.0  # children are killed at the end; in this time the kernel frees GPU memory
_ORPHAN: Final = -1


@dataclass(frozen=True)
class _WatchedProcess:
    id: int  # chosen by the worker; _ORPHAN for a process that a dead child left
    pid: int
    pidfd: int


class Zygote:
    def __init__(self, worker: socket.socket) -> None:
        self._worker = worker
        self._processes: dict[int, _WatchedProcess] = {}  # by pidfd
        self._poll = select.poll()
        self._poll.register(worker, select.POLLIN)

    def serve(self) -> None:
        """Serve until the worker closes its end, then kill all children."""
        try:
            while True:
                for descriptor, _ in self._poll.poll():
                    if descriptor != self._worker.fileno():
                        self._reap(descriptor)
                    elif not self._take_request():
                        return
        except ConnectionError:
            return
        finally:
            self._end_all()
            self._worker.close()

    def _say(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        with contextlib.suppress(ConnectionError):  # the next read fails too
            socket.send_fds(self._worker, [json.dumps(message).encode()], list(descriptors))

    def ready(self, modules: dict[str, float], failed: dict[str, str]) -> None:
        self._say({"t": "ready", "pid": os.getpid(), "modules": modules, "failed": failed})

    def _take_request(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._worker, _REQUEST_LIMIT_BYTES, 4, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        request = json.loads(data)
        try:
            spec = ChildSpec.from_json(request["spec"])
            self._fork(request["id"], spec, Descriptors(*descriptors))
        except (OSError, TypeError) as error:
            self._say({"t": "refused", "id": request["id"], "error": str(error)})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _fork(self, identifier: int, spec: ChildSpec, descriptors: Descriptors) -> None:
        zygote_pid = os.getpid()
        gc.freeze()  # so that garbage collection in the child copies no pages of the zygote
        pid = os.fork()
        if pid == 0:
            child.run(descriptors, spec, zygote_pid)
        process = self._watch(identifier, pid)
        self._say({"t": "forked", "id": identifier, "pid": pid}, (process.pidfd,))

    def _watch(self, identifier: int, pid: int) -> _WatchedProcess:
        process = _WatchedProcess(identifier, pid, os.pidfd_open(pid))
        self._processes[process.pidfd] = process
        self._poll.register(process.pidfd, select.POLLIN)
        return process

    def _reap(self, pidfd: int) -> None:
        process = self._processes.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        if process.id != _ORPHAN:
            # While it is not reaped its number cannot be anybody else's process group.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        _, status, usage = os.wait4(process.pid, 0)
        if process.id != _ORPHAN:
            code = os.waitstatus_to_exitcode(status)
            ending = {"code": code if code >= 0 else None, "signal": -code if code < 0 else None}
            self._say({"t": "exited", "id": process.id, **ending, "max_rss_kb": usage.ru_maxrss})
        self._end_orphans()

    def _end_orphans(self) -> None:
        """Kill processes that dead children left: this process is their subreaper. Repeated when one of them ends.

        Processes in the session of a living child have daemonized themselves; they are killed with their child.
        """
        known = {process.pid for process in self._processes.values()}
        sessions = {process.pid for process in self._processes.values() if process.id != _ORPHAN}
        for pid in _child_pids():
            if pid in known:
                continue
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) not in sessions:
                    os.kill(pid, signal.SIGKILL)
                    self._watch(_ORPHAN, pid)

    def _end_all(self) -> None:
        deadline = time.monotonic() + _LEAVE_WITHIN_S
        self._poll = select.poll()
        for process in self._processes.values():
            self._poll.register(process.pidfd, select.POLLIN)
            signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
        while self._processes and (left := deadline - time.monotonic()) > 0:
            for descriptor, _ in self._poll.poll(left * 1000):
                with contextlib.suppress(OSError):  # the worker may have closed its end
                    self._reap(descriptor)


def _child_pids() -> list[int]:
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:  # noqa: PTH123  a /proc file
            return [int(word) for word in children.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN: only process groups are killed
        return []


def preload(names: list[str]) -> tuple[dict[str, float], dict[str, str]]:
    """Import modules. Return the milliseconds of each, and the error of each that failed: children may not need it."""
    taken, failed = {}, {}
    for name in names:
        started = time.perf_counter()
        try:
            importlib.import_module(name)
            taken[name] = round((time.perf_counter() - started) * 1000, 1)
        except Exception as error:  # noqa: BLE001  the boundary to packages of other authors
            failed[name] = f"{type(error).__name__}: {error}"
    return taken, failed


def main() -> None:
    parser = argparse.ArgumentParser(description="forks model children; started by a worker")
    parser.add_argument("--socket-fd", type=int, required=True)
    parser.add_argument("--preload", default="", help="modules to import first, separated by commas")
    options = parser.parse_args()
    if sys.path[0] in {"", os.fspath(Path.cwd())}:  # `-m` put it there
        del sys.path[0]
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # a child may get a cancel before it has a handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    syscalls.prctl("subreaper", syscalls.PR_SET_CHILD_SUBREAPER, 1)
    syscalls.prctl("name", syscalls.PR_SET_NAME, b"tidemill-zygote")
    zygote = Zygote(socket.socket(fileno=options.socket_fd))
    modules, failed = preload([name for name in options.preload.split(",") if name])
    # Libraries may have idle threads (BLAS pools), which survive a fork. Python 3.12 warns of them.
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
    gc.collect()
    gc.freeze()
    zygote.ready(modules, failed)
    zygote.serve()


if __name__ == "__main__":
    main()
