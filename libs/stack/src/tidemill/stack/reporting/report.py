"""What the person who waits is told: plain lines, each also kept with its time in the supervisor's own log."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

REMIND_EVERY_S = 5.0


class Report:
    def __init__(self, show: Callable[[str], None], log: Path) -> None:
        self._show = show
        self._log = log

    def say(self, text: str) -> None:
        self.record(text)
        self.tell(text)

    def tell(self, text: str) -> None:
        """Shown but not kept: it may hold a secret."""
        # Whoever read it may have gone, as in `| tee` at a Ctrl-C: what runs must still be stopped in order.
        with suppress(OSError):
            self._show(text)

    def record(self, text: str) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        # A full disk must not silence what is shown, nor stop whoever reports it.
        with suppress(OSError), self._log.open("a") as log:
            log.writelines(f"{stamp} {line}\n" for line in text.splitlines())

    @asynccontextmanager
    async def waiting(self, what: str, reason: Callable[[], str] = str) -> AsyncIterator[Callable[[], float]]:
        """Reminds of what is awaited; yields a function that tells the seconds passed."""
        started = time.monotonic()

        def elapsed() -> float:
            return time.monotonic() - started

        async def remind() -> None:
            while True:
                await asyncio.sleep(REMIND_EVERY_S)
                self.say(f"  ... waiting for {what}, {elapsed():.0f} s{_because(reason())}")

        reminder = asyncio.create_task(remind(), name=f"remind of {what}")
        try:
            yield elapsed
        finally:
            reminder.cancel()


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
