"""Progress lines for the user who runs `up`, each also written with its time to the supervisor's log."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

REMIND_EVERY_S = 5.0


class ProgressReport:
    def __init__(self, show: Callable[[str], None], log: Path) -> None:
        self._show = show
        self._log = log

    def say(self, text: str) -> None:
        self.record(text)
        self.tell(text)

    def tell(self, text: str) -> None:
        """Show text that is not logged, since it may hold a secret."""
        # The reader may have ended, as `| tee` does at a Ctrl-C. The stack must still stop in order.
        with suppress(OSError):
            self._show(text)

    def record(self, text: str) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        # A full disk must neither stop the supervisor nor what it shows.
        with suppress(OSError), self._log.open("a") as log:
            log.writelines(f"{stamp} {line}\n" for line in text.splitlines())

    @asynccontextmanager
    async def waiting(self, what: str, reason: Callable[[], str] = str) -> AsyncIterator[Callable[[], float]]:
        """Say every REMIND_EVERY_S what is awaited and why. Yield a function that returns the seconds passed."""
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
