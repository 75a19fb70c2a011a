"""Which windows of accepted_at the sweep reads, so that each is read once for sure, and early for promptness.

Pure; times in unix seconds of the database's clock. What is settled is read once (see runtime.scan).
"""

from typing import Final

from tidemill.runtime.scan import SETTLED_AFTER_S, Window

FRESH_AFTER_S: Final = 1.0  # most predictions have ended by then and need no reading
WINDOW_LIMIT_S: Final = 300.0  # bounds one statement after an outage: 600,000 rows at 2,000 predictions a second


class ScanWindows:
    """The windows that are left to read. `watermark`: no open row was accepted earlier."""

    def __init__(self, watermark: float) -> None:
        self._settled = watermark
        self._fresh = watermark
        self._backlog: list[Window] = []

    def advance(self, now: float) -> None:
        """Add the windows that have settled by `now`."""
        until = now - SETTLED_AFTER_S
        if until > self._settled:
            self._backlog.extend(split(self._settled, until))
            self._settled = until

    def next_settled(self) -> Window | None:
        """Return the newest window that is left, as its clients still wait. Call `read` after reading it."""
        return self._backlog[-1] if self._backlog else None

    def read(self, window: Window) -> None:
        """Note that a settled window has been read."""
        self._backlog.remove(window)

    def next_fresh(self, now: float) -> Window | None:
        """Return a window that is read for promptness alone; what it misses is read again when it has settled."""
        window = Window(max(self._fresh, self._settled), now - FRESH_AFTER_S)
        self._fresh = max(self._fresh, window.until)
        return window if window.until > window.after else None

    def seen_until(self) -> float:
        """Return the moment up to which rows have been looked for, fresh or settled."""
        return max(self._fresh, self._settled)

    def watermark(self) -> float:
        """Return the moment up to which all rows have been read."""
        return min((window.after for window in self._backlog), default=self._settled)


def split(after: float, until: float) -> list[Window]:
    """Split a window into some of at most WINDOW_LIMIT_S, from oldest to newest."""
    found = []
    while after < until:
        found.append(Window(after, min(after + WINDOW_LIMIT_S, until)))
        after += WINDOW_LIMIT_S
    return found
