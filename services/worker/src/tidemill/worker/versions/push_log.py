"""What a build prints, saved to the push while it goes on, so that who polls sees how far it is."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from tidemill.runtime.db import TRANSIENT_ERRORS
from tidemill.runtime.tasks import Tasks
from tidemill.runtime.telemetry import log

SAVE_EVERY_S: Final = 0.5  # as fast as anybody polls
LIMIT_CHARS: Final = 256 * 1024  # the beginning of it is dropped: errors stand at the end


class PushLog:
    """`save` replaces the stored text."""

    def __init__(self, save: Callable[[str], Awaitable[None]]) -> None:
        self._save = save
        self._text = ""
        self._changed = asyncio.Event()

    @property
    def text(self) -> str:
        return self._text

    def say(self, text: str) -> None:
        """PostgreSQL's text holds no NUL."""
        self._text = (self._text + text.replace("\0", "\N{REPLACEMENT CHARACTER}"))[-LIMIT_CHARS:]
        self._changed.set()

    def line(self, text: str) -> None:
        self.say(f"{text}\n" if self._text.endswith("\n") or not self._text else f"\n{text}\n")

    @contextlib.asynccontextmanager
    async def saving(self) -> AsyncIterator[None]:
        """While it is open, what was said is saved soon. What comes last is for whoever ends the push."""
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
            except TRANSIENT_ERRORS as error:  # only progress: the whole text is written at the end
                log().warning("push log not saved", action="retry", error=str(error))
            await asyncio.sleep(SAVE_EVERY_S)
