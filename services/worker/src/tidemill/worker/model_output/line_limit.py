"""Limits how many lines a second one instance adds to the worker's own log. Pure."""

from typing import Final

LINES_PER_S: Final = 10.0  # enough for an operator; a model that prints in a loop must not fill the disk
BURST: Final = 20.0


class LineRateLimiter:
    """Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._saved = BURST
        self._last = 0.0
        self._left_out = 0

    def admit(self, now: float) -> int | None:
        """Return how many lines were left out before this one, or None if this one is left out."""
        self._saved = min(BURST, self._saved + (now - self._last) * LINES_PER_S)
        self._last = now
        if self._saved < 1:
            self._left_out += 1
            return None
        self._saved -= 1
        left_out, self._left_out = self._left_out, 0
        return left_out
