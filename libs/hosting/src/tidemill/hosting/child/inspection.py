"""Imports a pushed model in the sandbox, without running setup(), and returns its schema."""

import asyncio
import shutil
from collections import deque
from pathlib import Path
from typing import Final

import msgspec

from tidemill.contracts.ids import new_id
from tidemill.hosting.child.failures import BOOT_LOG_LIMIT_CHARS, BootFailed, describe_exit
from tidemill.hosting.child.frames import FailedFrame, ReadyFrame, decode
from tidemill.hosting.child.zygotes import Zygotes
from tidemill.hosting.environments.store import Environment
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.model.host.child_events import ChildExit
from tidemill.model.host.zygote_process import ForkRefusedError, ZygoteDiedError
from tidemill.model.sandbox.settings import Sandbox
from tidemill.model.wire.spec import BootFrame, ChildSpec
from tidemill.model.wire.text_stream import OwnerIds

# torch and transformers with five architectures take 12 s of a core, 36 s on two busy cores, and a slow disk 20 s more
# for their 0.9 GB. Slower work belongs into setup().
IMPORT_LIMIT_S: Final = 90.0
FIRST_UID: Final = 190_000  # below the UIDs of instances; one for each inspection, because several run at once
UIDS: Final = 1_000


class _InspectionHandler:
    """The ChildEvents of an inspection: it waits for the schema and keeps the log."""

    def __init__(self) -> None:
        self.log = ""
        self.schema: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()

    def on_frames(self, bodies: list[bytes], files: deque[int]) -> None:  # noqa: ARG002 - none can be announced here
        for body in bodies:
            try:
                frame = decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ValueError(f"it sent what is no frame: {error}") from None
            if isinstance(frame, ReadyFrame) and not self.schema.done():
                self.schema.set_result(frame.schema)
            elif isinstance(frame, FailedFrame) and not self.schema.done():
                self.schema.set_exception(BootFailed(frame.error))

    def on_text(self, _ids: OwnerIds, text: str) -> None:
        self._add(text)

    def on_log_bytes(self, data: bytes) -> None:
        self._add(data.decode("utf-8", "replace"))

    def _add(self, text: str) -> None:
        self.log = (self.log + text)[-BOOT_LOG_LIMIT_CHARS:]

    def on_exit(self, ended: ChildExit) -> None:
        if not self.schema.done():
            self.schema.set_exception(
                BootFailed(f"the model's process ended while it was imported: {describe_exit(ended)}")
            )


class SandboxedInspector:
    """The inspector of pushes, on real zygotes and sandboxes."""

    def __init__(
        self,
        zygotes: Zygotes,
        home: Path,
        required: tuple[str, ...],
        *,
        also_read: tuple[Path, ...] = (),
        limit_s: float = IMPORT_LIMIT_S,
    ) -> None:
        self._zygotes = zygotes
        self._home = home / "inspections"
        self._required = required
        self._also_read = also_read  # the targets of links in the model's directory
        self._limit_s = limit_s
        self._next_uid = 0

    async def inspect(
        self, directory: Path, environment: Environment, config: ModelConfig, *, trusted: bool = False
    ) -> tuple[msgspec.Raw, str]:
        """Return the schema and the log. Raise BootFailed. `trusted` makes no layer of the sandbox mandatory."""
        tmp = self._home / new_id()
        await asyncio.to_thread(tmp.mkdir, parents=True)
        handler = _InspectionHandler()
        child = None
        try:
            zygote = await self._zygotes.get(environment)
            own = map(str, (directory, *self._also_read))
            read = (*own, *map(str, environment.read_paths), *self._zygotes.runtime_paths())
            self._next_uid = (self._next_uid + 1) % UIDS
            uid = FIRST_UID + self._next_uid
            sandbox = Sandbox(tmp=str(tmp), read=read, uid=uid, required=() if trusted else self._required)
            boot = BootFrame(
                entry=config.entry,
                directory=str(directory),
                tmp=str(tmp),
                mode="inspect",
                train_entry=config.train_entry,
                site=None if environment.site is None else str(environment.site),
            )
            child = await zygote.fork(ChildSpec(sandbox=sandbox, env=dict(config.environment)), boot, handler)
            async with asyncio.timeout(self._limit_s):
                schema = await handler.schema
        except TimeoutError:
            reason = f"the import took longer than {self._limit_s:g} s: what takes long belongs into setup()"
            raise BootFailed(f"{reason}\n{handler.log}".strip()) from None
        except (BootFailed, ForkRefusedError, ZygoteDiedError) as error:
            raise BootFailed(f"{error}\n{handler.log[-2000:]}".strip()) from None
        else:
            return schema, handler.log
        finally:
            if child is not None:
                child.kill()
            await asyncio.to_thread(shutil.rmtree, tmp, ignore_errors=True)
