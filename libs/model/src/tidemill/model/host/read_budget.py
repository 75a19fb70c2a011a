"""How much a worker takes from one child: an allowance of frames and bytes that refills with time. Pure.

A child over it is not read until it has refilled, so that it waits and the others of the worker do not. One that is
over it without a break for longer than any model has reason to is said to flood.
"""

from typing import Final

FRAMES_PER_S: Final = 25_000  # more than the tokens a second of the largest batches; a tenth of the worker's core
BYTES_PER_S: Final = 32 * 1024 * 1024  # of frames and text; four outputs of the largest size
BURST_S: Final = 1.0  # what an idle child has saved up, in seconds of those rates
FLOOD_S: Final = 10.0
FLOODED: Final = f"for {FLOOD_S:g} s it said more than a worker takes of one model"


class ReadBudget:
    """Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._due = 0.0  # when all that was taken would have been taken at those rates
        self._over_since: float | None = None

    def spend(self, frames: int, size: int, now: float) -> float:
        """Takes note of what was read; for how many seconds the child is not to be read now."""
        if self._due <= now - BURST_S / 2:  # half is saved up again: it has made a break
            self._over_since = None
        self._due = max(self._due, now - BURST_S) + frames / FRAMES_PER_S + size / BYTES_PER_S
        if self._due <= now:
            return 0.0
        if self._over_since is None:
            self._over_since = now
        return self._due - now

    def floods(self, now: float) -> bool:
        return self._over_since is not None and now - self._over_since > FLOOD_S
