"""Which window of accepted_at the janitor reads next, and how long it is. Pure; times as in runtime.scan."""

from typing import Final

from tidemill.runtime.scan import SETTLED_AFTER_S, Window

WINDOW_FIRST_S: Final = 10.0  # bounds one statement: 20,000 rows at 2,000 predictions a second
WINDOW_LIMIT_S: Final = 3600.0  # quiet times after a long outage pass quickly
FEW_ROWS: Final = 500  # a window with fewer than this was quiet, and the next may be longer


def next_window(watermark: float, now: float, retention_s: float, length_s: float) -> Window | None:
    """Return the window behind the watermark, or None if all that was accepted `retention_s` ago has been read."""
    due = now - max(retention_s, SETTLED_AFTER_S)
    return Window(watermark, min(watermark + length_s, due)) if watermark < due else None


def next_length_s(length_s: float, rows: int) -> float:
    """Return how long the next window may be after one of `length_s` seconds that had `rows` rows."""
    return min(length_s * 2, WINDOW_LIMIT_S) if rows < FEW_ROWS else WINDOW_FIRST_S
