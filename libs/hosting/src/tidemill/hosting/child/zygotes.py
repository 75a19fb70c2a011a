"""Zygotes: one for each interpreter and list of preloads, kept once started, so that a boot is a fork."""

import asyncio
import os
from pathlib import Path
from typing import Final

import msgspec

from tidemill.hosting.environments.store import Environment
from tidemill.model.host.runtime_path import make_runtime_path
from tidemill.model.host.zygote_process import ZygoteDiedError, ZygoteProcess
from tidemill.runtime.telemetry import log

WARMED: Final = 4  # each holds its imports in memory: about 250 MB with torch, shared with its children
INHERITED: Final = ("PATH", "LANG", "LD_LIBRARY_PATH")
# No zygote may touch a GPU: a fork of what has cannot use one. It sees none, and torch, should a library ask it at
# import, looks without CUDA. Children are told of their own devices after the fork.
NO_GPU: Final = {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
_GPU_FILES: Final = "/dev/nvidia"


class _Known(msgspec.Struct, frozen=True):
    """What it takes to start a zygote again."""

    zygote: str
    python: str
    preload: tuple[str, ...]


class Zygotes:
    """Zygotes by the name that environments of one kind share: few, since models' own packages stay out of them.

    `close` ends them and with them all children.
    """

    def __init__(self, worker_home: Path) -> None:
        self._runtime = worker_home / "runtime"
        self._known = worker_home / "zygotes.json"
        self._zygotes: dict[str, ZygoteProcess] = {}
        self._turn: dict[str, asyncio.Lock] = {}

    async def get(self, environment: Environment) -> ZygoteProcess:
        """Raises ZygoteDiedError when the environment's interpreter does not come up."""
        async with self._turn.setdefault(environment.zygote, asyncio.Lock()):
            zygote = self._zygotes.pop(environment.zygote, None)
            if zygote is None or zygote.dead.done():
                zygote = await self._start(environment)
            self._zygotes[environment.zygote] = zygote  # last: most recently used
            return zygote

    async def keep_warm(self) -> None:
        """Named task: begins with what the last worker here used; `get` starts again what dies.

        The worker takes predictions meanwhile: on a busy machine the import of torch takes longer than all the rest of
        its start, and a boot in another environment need not wait for it.
        """
        await self.warm()
        await asyncio.Event().wait()

    async def warm(self) -> None:
        """Starts those that the last worker here used: no prediction should wait for the import of torch."""
        for known in await asyncio.to_thread(self._remembered):
            environment = Environment(known.zygote, known.zygote, Path(known.python), known.preload, None, ())
            try:
                await self.get(environment)
            except (ZygoteDiedError, OSError) as error:  # its interpreter may be gone; whoever needs it will hear
                log().warning("not warmed", action="zygote", environment=known.zygote, error=str(error))

    def _remembered(self) -> list[_Known]:
        try:
            return msgspec.json.decode(self._known.read_bytes(), type=list[_Known])
        except (OSError, msgspec.DecodeError):
            return []

    def _remember(self, environment: Environment) -> None:
        known = {one.zygote: one for one in self._remembered()}
        known[environment.zygote] = _Known(environment.zygote, str(environment.python), environment.preload)
        fresh = self._known.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(list(known.values())[-WARMED:]))
        fresh.replace(self._known)

    async def _start(self, environment: Environment) -> ZygoteProcess:
        path = await asyncio.to_thread(make_runtime_path, self._runtime)
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        env = {**inherited, **NO_GPU, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1"}
        zygote = await ZygoteProcess.start(str(environment.python), preload=environment.preload, env=env)
        if await asyncio.to_thread(holds_gpu, zygote.process.pid):
            log().warning("a module touches GPUs when imported", action="zygote", environment=environment.zygote)
            await zygote.close()
            zygote = await ZygoteProcess.start(str(environment.python), preload=(), env=env)
        await asyncio.to_thread(self._remember, environment)
        log().info("zygote ready", action="zygote", environment=environment.zygote, modules=zygote.modules)
        return zygote

    def runtime_paths(self) -> tuple[str, ...]:
        """What children must be able to read of the runtime itself."""
        links = (self._runtime / "tidemill" / "model", self._runtime / "cog")
        return (str(self._runtime), *(str(link.resolve()) for link in links))

    async def close(self) -> None:
        for zygote in list(self._zygotes.values()):
            await zygote.close()
        self._zygotes.clear()


def holds_gpu(pid: int) -> bool:
    """Whether the process has a device file of a GPU open, as it must for a context."""
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it is gone: its caller will hear
        return False
    return any(_target(entry).startswith(_GPU_FILES) for entry in entries)


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:  # closed meanwhile
        return ""
