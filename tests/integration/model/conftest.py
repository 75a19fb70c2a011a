"""Real zygotes with real sandboxed children; a Child that records what it says."""

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tidemill.model.host.child_events import ChildExit
from tidemill.model.host.child_process import ChildProcess
from tidemill.model.host.runtime_path import make_runtime_path
from tidemill.model.host.zygote_process import ZygoteProcess
from tidemill.model.sandbox.settings import Sandbox
from tidemill.model.wire.spec import BootFrame, ChildSpec

MODELS = Path(__file__).parents[2] / "models"
PATIENCE_S = 30.0
_uids = itertools.count(220_000)


@dataclass
class Child:
    """Records a child's frames; waits for those that matter, never for a time."""

    frames: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, list[bytes]] = field(default_factory=dict)
    pipe: bytes = b""
    ended: ChildExit | None = None
    process: ChildProcess | None = None
    reject: Callable[[list[bytes]], None] | None = None
    pipe_at_done: dict[str, bytes] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def on_frames(self, bodies: list[bytes], files: deque[int]) -> None:
        if self.reject is not None:
            self.reject(bodies)
        for body in bodies:
            frame = json.loads(body)
            frame["at"] = time.monotonic()
            self.frames.append(frame)
            if frame["t"] == "done":
                self.pipe_at_done[frame["id"]] = self.pipe
            for _ in frame.get("files", ()):
                descriptor = files.popleft()
                with os.fdopen(descriptor, "rb") as content:
                    self.files.setdefault(frame["id"], []).append(content.read())
        self._news.set()

    def on_text(self, ids: Sequence[str] | None, text: str) -> None:
        """As a frame among the others; nobody's text, and that of what has ended, has the id ""."""
        for each in (None,) if ids is None else [one for one in ids if one not in self.pipe_at_done] or ("",):
            self.frames.append({"t": "log", "id": each, "text": text, "at": time.monotonic()})
        self._news.set()

    def on_log_bytes(self, data: bytes) -> None:
        self.pipe += data
        self._news.set()

    def on_exit(self, ended: ChildExit) -> None:
        assert self.ended is None
        self.ended = ended
        self._news.set()

    async def until(self, found: Callable[[], Any]) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            while not (value := found()):
                assert self.ended is None or found(), (self.ended, self.frames[-5:], self.pipe[-2000:])
                self._news.clear()
                await self._news.wait()
            return value

    def of(self, kind: str, prediction: str | None = None) -> list[dict[str, Any]]:
        return [f for f in self.frames if f["t"] == kind and (prediction is None or f["id"] == prediction)]

    @property
    def has_own_mounts(self) -> bool:
        """False where the system forbids an ordinary user namespaces, as in a chroot."""
        return any(layer["on"] for layer in self.of("ready")[0]["layers"] if layer["name"] == "mounts")

    async def booted(self) -> dict[str, Any]:
        return (await self.until(lambda: self.of("ready") or self.of("failed")))[0]

    async def exit(self) -> ChildExit:
        return await self.until(lambda: self.ended)

    def run(self, prediction: str, *, context: dict[str, str] | None = None, **values: Any) -> None:
        frame = {"t": "run", "id": prediction, "input": values, "context": context or {}}
        self.process.send(json.dumps(frame).encode())

    async def done(self, prediction: str) -> dict[str, Any]:
        return (await self.until(lambda: self.of("done", prediction)))[0]

    async def predict(self, prediction: str, **values: Any) -> dict[str, Any]:
        self.run(prediction, **values)
        return await self.done(prediction)

    def logs(self, prediction: str | None) -> str:
        return "".join(f["text"] for f in self.frames if f["t"] == "log" and f["id"] == prediction)

    async def started(self, prediction: str) -> None:
        """For predictions that print when they begin."""
        await self.until(lambda: self.logs(prediction))


@dataclass
class Launcher:
    zygote: ZygoteProcess
    directory: Path
    children: list[Child] = field(default_factory=list)

    def tmp(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.directory))

    async def __call__(self, *args: Any, **kwargs: Any) -> Child:
        """`start`, and its boot."""
        child = await self.start(*args, **kwargs)
        ready = await child.booted()
        assert ready["t"] == "ready", (ready, child.frames)
        return child

    async def start(
        self,
        model: str,
        entry: str = "predict.py:Predictor",
        *,
        sandbox: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        **boot: Any,
    ) -> Child:
        """Without waiting for its boot."""
        source, tmp = str(MODELS / model), str(self.tmp())
        settings = Sandbox(tmp=tmp, read=(source,), uid=next(_uids) if os.geteuid() == 0 else None)
        spec = ChildSpec(replace(settings, **(sandbox or {})), env or {}, threads=1)
        child = Child()
        frame = BootFrame(**{"entry": entry, "directory": source, "tmp": tmp, **boot})
        child.process = await self.zygote.fork(spec, frame, child)
        self.children.append(child)
        return child

    async def end_all(self) -> None:
        for child in self.children:
            child.process.kill()
        for child in self.children:
            await child.exit()
        self.children.clear()


@pytest.fixture(scope="session")
def common_directory() -> Iterator[Path]:
    """Outside /tmp, so that children get a /tmp of their own; open to other users."""
    directory = Path(tempfile.mkdtemp(prefix="tidemill-test-", dir="/var/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def zygote_env(common_directory) -> dict[str, str]:
    path = make_runtime_path(common_directory / "runtime")
    return {"PYTHONPATH": path, "PATH": os.environ["PATH"], "OPENBLAS_NUM_THREADS": "1"}


@pytest.fixture
def run_driver(zygote_env) -> Callable[..., Any]:
    """Run a script of this directory with a JSON request on its stdin; return the JSON that it prints."""

    def run(name: str, request: dict[str, Any], **env: str) -> Any:
        script = str(Path(__file__).with_name(name))
        done = subprocess.run(
            [sys.executable, script],
            input=json.dumps(request),
            env={**zygote_env, **env},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def uid_of() -> Callable[[str, int], int | None]:
    """The uid to which a driver must change to be "root" or an ordinary "user"; None if it need not. May skip."""

    def uid(who: str, ordinary: int) -> int | None:
        if who == "root" and os.geteuid() != 0:
            pytest.skip("the tests do not run as root")
        return ordinary if who == "user" and os.geteuid() == 0 else None

    return uid


@pytest_asyncio.fixture(scope="session")
async def shared_zygote(zygote_env) -> AsyncIterator[ZygoteProcess]:
    zygote = await ZygoteProcess.start(sys.executable, preload=["numpy", "no_such_module"], env=zygote_env)
    yield zygote
    await zygote.close()


@pytest_asyncio.fixture
async def launch(shared_zygote, common_directory) -> AsyncIterator[Launcher]:
    launcher = Launcher(shared_zygote, common_directory)
    yield launcher
    await launcher.end_all()


@pytest.fixture
def recorder() -> Child:
    return Child()


@pytest.fixture(scope="session")
def make_launcher(common_directory) -> Callable[[ZygoteProcess], Launcher]:
    return lambda zygote: Launcher(zygote, common_directory)
