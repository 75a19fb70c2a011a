"""A child, from the fork to its exit: enters the sandbox, boots the model, reports the result, serves predictions.

It uses the modules that the zygote has imported and never returns to the zygote's code. It runs no code of the model
before it has entered the sandbox.
"""

import asyncio
import contextlib
import faulthandler
import functools
import gc
import inspect
import json
import os
import signal
import site
import socket
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, NoReturn

from tidemill.model.errors import exceptions
from tidemill.model.errors.boot import BootError, boot_error, run_step
from tidemill.model.introspection.load import LoadedModel, load_predictor, load_train, setup_arguments
from tidemill.model.introspection.signature import Signature
from tidemill.model.logs import c_streams, processes, threads
from tidemill.model.logs.owners import NO_OWNER, LogOwner, set_owner
from tidemill.model.logs.pipes import Pipes
from tidemill.model.logs.streams import Logs
from tidemill.model.process import environment, reseed
from tidemill.model.process.after_fork import Descriptors, die_with_parent, leave_zygote
from tidemill.model.sandbox.entry import MissingLayerError, enter_with_way_out
from tidemill.model.sandbox.settings import SandboxLayer
from tidemill.model.schema import child_schema
from tidemill.model.serving import health, sent_files
from tidemill.model.serving.async_server import AsyncServer
from tidemill.model.serving.batch_server import BatchServer
from tidemill.model.serving.cancelation import Cancelation
from tidemill.model.serving.sync_server import SyncServer
from tidemill.model.wire.channel import ORPHANED_EXIT_CODE, Channel
from tidemill.model.wire.spec import BootFrame, ChildSpec

BOOT_FAILED_EXIT_CODE: Final = 70


def _add_packages(directory: str) -> None:
    """Insert the directory before the interpreter's own packages, after the standard library.

    This runs its .pth files: packages that the model chose may run code in the sandbox only.
    """
    installed = [path for path in sys.path if "site-packages" in path or "dist-packages" in path]
    at = sys.path.index(installed[0]) if installed else len(sys.path)
    before = len(sys.path)
    site.addsitedir(directory)
    added, sys.path[before:] = sys.path[before:], []
    sys.path[at:at] = added


def run(descriptors: Descriptors, spec: ChildSpec, zygote_pid: int) -> NoReturn:
    """Run in the process that was just forked, until its exit."""
    status = BOOT_FAILED_EXIT_CODE
    try:
        leave_zygote(descriptors)
        child = _Child(descriptors, spec, zygote_pid)  # its sockets must not close before the process ends
        status = child.run()
    except BaseException as error:  # noqa: BLE001  the boundary: no exception may reach the zygote's frames
        exceptions.print_traceback(error)
    finally:
        with contextlib.suppress(BaseException):
            sys.stderr.flush()
        # No interpreter shutdown: exit handlers of libraries may hang. The zygote kills processes that are left.
        os._exit(status)


class _Child:
    def __init__(self, descriptors: Descriptors, spec: ChildSpec, zygote_pid: int) -> None:
        self._spec = spec
        self._zygote_pid = zygote_pid
        self._channel = Channel(socket.socket(fileno=descriptors.data))
        self._control = socket.socket(fileno=descriptors.control)
        self._cancelation = Cancelation(self._control)
        self._pipes = Pipes(self._channel, descriptors.text, self._cancelation)
        self._setup = LogOwner(None)
        self._layers: list[SandboxLayer] = []
        self._phases: dict[str, float] = {}
        self._since = time.perf_counter()

    def _end_phase(self, name: str) -> None:
        now = time.perf_counter()
        self._phases[name] = round((now - self._since) * 1000, 3)
        self._since = now

    def run(self) -> int:
        die_with_parent(self._zygote_pid)
        try:
            self._confine()
            boot = self._read_boot()
            return self._boot(boot)
        except BootError as error:
            self._channel.put_printed()
            self._channel.send({"t": "failed", "kind": error.kind, "error": str(error)})
            return BOOT_FAILED_EXIT_CODE

    def _confine(self) -> None:
        try:
            self._layers, way_out = enter_with_way_out(self._spec.sandbox)
        except MissingLayerError as error:
            raise BootError("sandbox", str(error)) from None
        if way_out is not None:  # the worker takes it over
            self._channel.send({"t": "way_out", "files": [{"pointer": "", "name": "listener"}]}, [way_out.detach()])
        die_with_parent(self._zygote_pid)
        c_streams.set_line_buffering()
        faulthandler.enable(2)
        spec = self._spec
        variables = environment.complete(spec.env, spec.sandbox.tmp, spec.threads, way_out=spec.sandbox.way_out)
        environment.install(variables)
        reseed.reseed_generators()
        self._end_phase("sandbox")

    def _read_boot(self) -> BootFrame:
        while True:
            bodies = self._channel.receive()
            if bodies is None:
                os._exit(ORPHANED_EXIT_CODE)
            if bodies:
                break
        self._since = time.perf_counter()  # do not count the worker's time
        (body,) = bodies  # the worker sends no other frame before `ready`
        return BootFrame.from_frame(json.loads(body))

    def _boot(self, boot: BootFrame) -> int:
        os.chdir(boot.directory)
        os.environ.update(boot.secrets)
        if boot.weights is not None:  # as Cog does, for a setup without the parameter `weights`
            os.environ["COG_WEIGHTS"] = boot.weights
        if self._spec.sandbox.work is not None:
            sent_files.add_directory(self._spec.sandbox.work)
        if boot.site is not None:
            _add_packages(boot.site)
        _limit_threads(self._spec.threads)
        logs = Logs(self._pipes.write, {boot.directory, os.path.realpath(boot.directory), boot.tmp})
        set_owner(self._setup)
        self._disconnect_forks(logs)
        threads.install()
        processes.install(self._pipes)
        logs.install()
        if boot.mode == "inspect":
            signature, schema = child_schema.inspect_model(boot)
            self._end_phase("import")
            logs.finish(self._setup)
            self._send_ready(boot, signature, schema=schema)
            return 0
        load = load_train if boot.mode == "train" else load_predictor
        loaded: LoadedModel = run_step("import", lambda: load(boot.entry, Path(boot.directory)))
        self._end_phase("import")
        if loaded.is_async:
            asyncio.run(self._serve_async(boot, loaded, logs))
            return 0
        self._run_setup(boot, loaded, logs)
        if loaded.healthcheck is not None:
            self._channel.on_check = functools.partial(health.run_healthcheck, self._channel, loaded.healthcheck)
        server = SyncServer if loaded.signature.batch is None else BatchServer
        server(loaded, self._channel, logs, self._cancelation, self._pipes).serve()
        return 0

    def _run_setup(self, boot: BootFrame, loaded: LoadedModel, logs: Logs) -> None:
        outcome = run_step("setup", lambda: _call_setup(loaded, boot))
        if outcome is not None:
            coroutine = outcome
            run_step("setup", lambda: asyncio.new_event_loop().run_until_complete(coroutine))
        self._finish_setup(boot, loaded, logs)

    async def _serve_async(self, boot: BootFrame, loaded: LoadedModel, logs: Logs) -> None:
        """Run setup and predictions on one event loop, so that what setup binds to the loop stays usable."""
        outcome = run_step("setup", lambda: _call_setup(loaded, boot))
        if outcome is not None:
            try:
                await outcome
            except BaseException as error:  # noqa: BLE001  the boundary, as in run_step
                raise boot_error("setup", error) from None
        concurrency = boot.concurrency or loaded.concurrency
        server = AsyncServer(loaded, self._channel, self._control, logs, self._pipes, concurrency=concurrency)
        self._finish_setup(boot, loaded, logs)
        if loaded.healthcheck is not None:
            self._channel.on_check = health.AsyncHealthcheck(self._channel, loaded.healthcheck)
        await server.serve()

    def _finish_setup(self, boot: BootFrame, loaded: LoadedModel, logs: Logs) -> None:
        # Weights and modules live until the exit, so later collections skip them. Collect the garbage of setup first.
        gc.collect()
        gc.freeze()
        self._pipes.rotate_standard()
        logs.finish(self._setup)
        self._pipes.end(self._setup)
        set_owner(NO_OWNER)
        self._end_phase("setup")
        schema = child_schema.correct_schema(boot, loaded)
        self._send_ready(boot, loaded.signature, schema=schema, healthcheck=loaded.healthcheck is not None)

    def _send_ready(
        self, boot: BootFrame, signature: Signature, *, schema: Any = None, healthcheck: bool = False
    ) -> None:
        concurrency = (boot.concurrency or signature.concurrency) if signature.is_async else 1
        frame = {
            "t": "ready",
            "concurrency": concurrency if signature.batch is None else signature.batch.max_size,
            "batch": signature.batch is not None,
            "healthcheck": healthcheck,
            "phases": self._phases,
            "layers": [layer.to_json() for layer in self._layers],
            "schema": schema,
        }
        self._channel.put_printed()
        self._channel.send(frame)

    def _disconnect_forks(self, logs: Logs) -> None:
        """Disconnect processes that the model forks from the child's sockets and cancels."""

        def in_fork() -> None:
            self._pipes.disconnect()
            self._channel.disconnect()
            logs.disconnect()
            self._control.close()
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)

        os.register_at_fork(after_in_child=in_fork)


def _call_setup(loaded: LoadedModel, boot: BootFrame) -> Coroutine[Any, Any, Any] | None:
    """Run a synchronous setup, or return the coroutine of an asynchronous one."""
    if loaded.setup is None:
        return None
    result = loaded.setup(**setup_arguments(loaded, boot.weights))
    return result if inspect.iscoroutine(result) else None


def _limit_threads(threads: int | None) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and threads is not None:
        torch.set_num_threads(threads)
