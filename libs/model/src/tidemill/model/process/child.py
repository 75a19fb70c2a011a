"""A child, from the fork to its end: confine itself, boot the model, tell how that went, serve predictions.

It runs on what the zygote has imported and never returns into the zygote's code. Until the sandbox is entered not one
line of the model's has run.
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
from tidemill.model.errors.boot import BootError, boot_error, guarded
from tidemill.model.introspection.load import Loaded, load_predictor, load_train, setup_arguments
from tidemill.model.introspection.signature import Signature
from tidemill.model.logs import c_streams, processes, threads
from tidemill.model.logs.owners import NOBODY, Owner, become
from tidemill.model.logs.pipes import Pipes
from tidemill.model.logs.streams import Logs
from tidemill.model.process import environment, reseed
from tidemill.model.process.after_fork import Descriptors, die_with, leave_zygote
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
    """In front of the interpreter's own packages, behind the standard library. Their .pth files count too: only here,
    inside the sandbox, may the model's choice of packages run anything.
    """
    own = [path for path in sys.path if "site-packages" in path or "dist-packages" in path]
    at = sys.path.index(own[0]) if own else len(sys.path)
    before = len(sys.path)
    site.addsitedir(directory)
    added, sys.path[before:] = sys.path[before:], []
    sys.path[at:at] = added


def run(descriptors: Descriptors, spec: ChildSpec, zygote_pid: int) -> NoReturn:
    """In the process just forked."""
    status = BOOT_FAILED_EXIT_CODE
    try:
        leave_zygote(descriptors)
        living = _Child(descriptors, spec, zygote_pid)  # its sockets must not close before the process ends
        status = living.live()
    except BaseException as error:  # noqa: BLE001  the boundary: nothing may unwind into the zygote's frames
        exceptions.print_traceback(error)
    finally:
        with contextlib.suppress(BaseException):
            sys.stderr.flush()
        # No interpreter shutdown: exit handlers of libraries may hang, and the zygote ends what is left behind.
        os._exit(status)


class _Child:
    def __init__(self, descriptors: Descriptors, spec: ChildSpec, zygote_pid: int) -> None:
        self._spec = spec
        self._zygote_pid = zygote_pid
        self._channel = Channel(socket.socket(fileno=descriptors.data))
        self._control = socket.socket(fileno=descriptors.control)
        self._cancelation = Cancelation(self._control)
        self._pipes = Pipes(self._channel, descriptors.text, self._cancelation)
        self._setup = Owner(None)
        self._layers: list[SandboxLayer] = []
        self._phases: dict[str, float] = {}
        self._since = time.perf_counter()

    def _end_phase(self, name: str) -> None:
        now = time.perf_counter()
        self._phases[name] = round((now - self._since) * 1000, 3)
        self._since = now

    def live(self) -> int:
        die_with(self._zygote_pid)
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
        if way_out is not None:  # the worker's from here on
            self._channel.send({"t": "way_out", "files": [{"pointer": "", "name": "listener"}]}, [way_out.detach()])
        die_with(self._zygote_pid)
        c_streams.prepare()
        faulthandler.enable(2)
        spec = self._spec
        variables = environment.complete(spec.env, spec.sandbox.tmp, spec.threads, way_out=spec.sandbox.way_out)
        environment.install(variables)
        reseed.renew()
        self._end_phase("sandbox")

    def _read_boot(self) -> BootFrame:
        while True:
            bodies = self._channel.receive()
            if bodies is None:
                os._exit(ORPHANED_EXIT_CODE)
            if bodies:
                break
        self._since = time.perf_counter()  # the worker's time is not the model's
        (body,) = bodies  # nothing is sent ahead of `ready`
        return BootFrame.from_frame(json.loads(body))

    def _boot(self, boot: BootFrame) -> int:
        os.chdir(boot.directory)
        os.environ.update(boot.secrets)
        if boot.weights is not None:  # as Cog says it, for what takes no `weights` in its setup
            os.environ["COG_WEIGHTS"] = boot.weights
        if self._spec.sandbox.work is not None:
            sent_files.own(self._spec.sandbox.work)
        if boot.site is not None:
            _add_packages(boot.site)
        _limit_threads(self._spec.threads)
        logs = Logs(self._pipes.write, {boot.directory, os.path.realpath(boot.directory), boot.tmp})
        become(self._setup)
        self._watch_forks(logs)
        threads.follow()
        processes.follow(self._pipes)
        logs.install()
        if boot.mode == "inspect":
            signature, schema = child_schema.inspected(boot)
            self._end_phase("import")
            logs.finish(self._setup)
            self._tell_ready(boot, signature, schema=schema)
            return 0
        load = load_train if boot.mode == "train" else load_predictor
        loaded: Loaded = guarded("import", lambda: load(boot.entry, Path(boot.directory)))
        self._end_phase("import")
        if loaded.is_async:
            asyncio.run(self._serve_async(boot, loaded, logs))
            return 0
        self._set_up_and_tell(boot, loaded, logs)
        if loaded.healthcheck is not None:
            self._channel.on_check = functools.partial(health.tell, self._channel, loaded.healthcheck)
        server = SyncServer if loaded.signature.batch is None else BatchServer
        server(loaded, self._channel, logs, self._cancelation, self._pipes).serve()
        return 0

    def _set_up_and_tell(self, boot: BootFrame, loaded: Loaded, logs: Logs) -> None:
        outcome = guarded("setup", lambda: _call_setup(loaded, boot))
        if outcome is not None:
            coroutine = outcome
            guarded("setup", lambda: asyncio.new_event_loop().run_until_complete(coroutine))
        self._settle(boot, loaded, logs)

    async def _serve_async(self, boot: BootFrame, loaded: Loaded, logs: Logs) -> None:
        """Set-up and predictions share one event loop: what setup binds to it stays usable."""
        outcome = guarded("setup", lambda: _call_setup(loaded, boot))
        if outcome is not None:
            try:
                await outcome
            except BaseException as error:  # noqa: BLE001  the boundary, as in guarded
                raise boot_error("setup", error) from None
        concurrency = boot.concurrency or loaded.concurrency
        server = AsyncServer(loaded, self._channel, self._control, logs, self._pipes, concurrency=concurrency)
        self._settle(boot, loaded, logs)
        if loaded.healthcheck is not None:
            self._channel.on_check = health.Soon(self._channel, loaded.healthcheck)
        await server.serve()

    def _settle(self, boot: BootFrame, loaded: Loaded, logs: Logs) -> None:
        # Weights and modules stay for good: later collections need not walk them. What setup dropped goes first.
        gc.collect()
        gc.freeze()
        self._pipes.settle_standard()
        logs.finish(self._setup)
        self._pipes.end(self._setup)
        become(NOBODY)
        self._end_phase("setup")
        schema = child_schema.corrected(boot, loaded)
        self._tell_ready(boot, loaded.signature, schema=schema, healthcheck=loaded.healthcheck is not None)

    def _tell_ready(
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

    def _watch_forks(self, logs: Logs) -> None:
        """A process that the model forks must not speak on the child's sockets or take its cancels."""

        def in_fork() -> None:
            self._pipes.disconnect()
            self._channel.disconnect()
            logs.disconnect()
            self._control.close()
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)

        os.register_at_fork(after_in_child=in_fork)


def _call_setup(loaded: Loaded, boot: BootFrame) -> Coroutine[Any, Any, Any] | None:
    """Runs a synchronous setup; of an asynchronous one it returns the coroutine."""
    if loaded.setup is None:
        return None
    result = loaded.setup(**setup_arguments(loaded, boot.weights))
    return result if inspect.iscoroutine(result) else None


def _limit_threads(threads: int | None) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and threads is not None:
        torch.set_num_threads(threads)
