"""Zygotes: one process for each interpreter and list of preloaded modules. It stays, and booting a child is a fork."""

import asyncio
import os
from pathlib import Path
from typing import Final

import msgspec

from tidemill.hosting.environments.store import Environment
from tidemill.model.host.runtime_path import make_runtime_path
from tidemill.model.host.zygote_process import ZygoteDiedError, ZygoteProcess
from tidemill.runtime.telemetry import log

WARMED: Final = 4  # each holds its imports in memory: 250 MB with torch, shared with its children
INHERITED: Final = ("PATH", "LANG", "LD_LIBRARY_PATH")
# No zygote may open a GPU: CUDA does not work in a fork of a process that has a context. A zygote sees no devices, and
# torch counts devices without CUDA if a library asks at import. Children get their devices after the fork.
NO_GPU: Final = {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
_GPU_FILES: Final = "/dev/nvidia"


class _ZygoteRecord(msgspec.Struct, frozen=True):
    """What is needed to start a zygote again."""

    zygote: str
    python: str
    preload: tuple[str, ...]


class Zygotes:
    """Zygotes by the key that similar environments share. They are few: models' own packages are not imported in them.

    `close` ends them and all their children.
    """

    def __init__(self, worker_home: Path) -> None:
        self._runtime = worker_home / "runtime"
        self._records_path = worker_home / "zygotes.json"
        self._zygotes: dict[str, ZygoteProcess] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, environment: Environment) -> ZygoteProcess:
        """Return the running zygote, started if needed. Raise ZygoteDiedError if the interpreter does not start."""
        async with self._locks.setdefault(environment.zygote, asyncio.Lock()):
            zygote = self._zygotes.pop(environment.zygote, None)
            if zygote is None or zygote.dead.done():
                zygote = await self._start(environment)
            self._zygotes[environment.zygote] = zygote  # re-inserted at the end: the most recently used
            return zygote

    async def keep_warm(self) -> None:
        """Named task: start the zygotes that the last worker on this machine used.

        The worker takes predictions meanwhile: on a busy machine the import of torch takes longer than the rest of its
        start, and boots in other environments need not wait for it. `get` restarts zygotes that die later.
        """
        await self.warm()
        await asyncio.Event().wait()

    async def warm(self) -> None:
        """Start the zygotes that the last worker here used, so that no prediction waits for the import of torch."""
        for record in await asyncio.to_thread(self._read_records):
            environment = Environment(record.zygote, record.zygote, Path(record.python), record.preload, None, ())
            try:
                await self.get(environment)
            except (ZygoteDiedError, OSError) as error:  # its interpreter may be gone; boots will report it
                log().warning("zygote not started", action="zygote", environment=record.zygote, error=str(error))

    def _read_records(self) -> list[_ZygoteRecord]:
        try:
            return msgspec.json.decode(self._records_path.read_bytes(), type=list[_ZygoteRecord])
        except (OSError, msgspec.DecodeError):
            return []

    def _add_record(self, environment: Environment) -> None:
        records = {record.zygote: record for record in self._read_records()}
        records[environment.zygote] = _ZygoteRecord(environment.zygote, str(environment.python), environment.preload)
        fresh = self._records_path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(list(records.values())[-WARMED:]))
        fresh.replace(self._records_path)

    async def _start(self, environment: Environment) -> ZygoteProcess:
        path = await asyncio.to_thread(make_runtime_path, self._runtime)
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        env = {**inherited, **NO_GPU, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1"}
        zygote = await ZygoteProcess.start(str(environment.python), preload=environment.preload, env=env)
        if await asyncio.to_thread(holds_gpu, zygote.process.pid):
            log().warning("a module touches GPUs when imported", action="zygote", environment=environment.zygote)
            await zygote.close()
            zygote = await ZygoteProcess.start(str(environment.python), preload=(), env=env)
        await asyncio.to_thread(self._add_record, environment)
        log().info("zygote ready", action="zygote", environment=environment.zygote, modules=zygote.modules)
        return zygote

    def runtime_paths(self) -> tuple[str, ...]:
        """Return the paths of the model runtime that children must be able to read."""
        links = (self._runtime / "tidemill" / "model", self._runtime / "cog")
        return (str(self._runtime), *(str(link.resolve()) for link in links))

    async def close(self) -> None:
        for zygote in list(self._zygotes.values()):
            await zygote.close()
        self._zygotes.clear()


def holds_gpu(pid: int) -> bool:
    """Return whether the process has a GPU's device file open, which a CUDA context needs."""
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it has ended: the caller notices
        return False
    return any(_target(entry).startswith(_GPU_FILES) for entry in entries)


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:  # closed in the meantime
        return ""
