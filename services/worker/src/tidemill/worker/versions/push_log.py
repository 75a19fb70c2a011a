"""The log of a build, saved to its push while it goes on, for clients that poll."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from tidemill.runtime.db import TRANSIENT_ERRORS
from tidemill.runtime.tasks import Tasks
from tidemill.runtime.telemetry import log

SAVE_EVERY_S: Final = 0.5  # clients poll no faster
LIMIT_CHARS: Final = 256 * 1024  # the beginning is dropped: errors are at the end


class PushLog:
    """`save` replaces the stored text."""

    def __init__(self, save: Callable[[str], Awaitable[None]]) -> None:
        self._save = save
        self._text = ""
        self._changed = asyncio.Event()

    @property
    def text(self) -> str:
        return self._text

    def add(self, text: str) -> None:
        """Add text. NUL is replaced, since PostgreSQL's text cannot hold it."""
        self._text = (self._text + text.replace("\0", "\N{REPLACEMENT CHARACTER}"))[-LIMIT_CHARS:]
        self._changed.set()

    def add_line(self, text: str) -> None:
        self.add(f"{text}\n" if self._text.endswith("\n") or not self._text else f"\n{text}\n")

    @contextlib.asynccontextmanager
    async def saving(self) -> AsyncIterator[None]:
        """Save the log every SAVE_EVERY_S while the context is open. The end of the push saves the rest."""
        saving = Tasks()
        saving.start(self._keep_saving(), "push log")
        try:
            yield
        finally:
            await saving.stop()

    async def _keep_saving(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._save(self._text)
            except TRANSIENT_ERRORS as error:  # only progress: the end of the push writes the whole text
                log().warning("push log not saved", action="retry", error=str(error))
            await asyncio.sleep(SAVE_EVERY_S)
