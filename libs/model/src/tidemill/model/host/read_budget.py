"""The budget of frames and bytes that a worker reads from one child; it refills with time (a token bucket). Pure.

A child over its budget is not read until it refills, so that this child blocks and the others do not. A child that
stays over it for longer than any model has reason to is flooding.
"""

from typing import Final

FRAMES_PER_S: Final = 25_000  # more than the tokens per second of the largest batches; a tenth of the worker's core
BYTES_PER_S: Final = 32 * 1024 * 1024  # of frames and text; four of the largest outputs
BURST_S: Final = 1.0  # the capacity that an idle child saves, in seconds of those rates
FLOOD_S: Final = 10.0
FLOODED: Final = f"for {FLOOD_S:g} s it said more than a worker takes of one model"


class ReadBudget:
    """Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._due = 0.0  # the time at which all that was read would have been read at those rates
        self._over_since: float | None = None

    def spend(self, frames: int, size: int, now: float) -> float:
        """Charge a read. Return for how many seconds the child must not be read."""
        if self._due <= now - BURST_S / 2:  # half of the capacity is back: the child has paused
            self._over_since = None
        self._due = max(self._due, now - BURST_S) + frames / FRAMES_PER_S + size / BYTES_PER_S
        if self._due <= now:
            return 0.0
        if self._over_since is None:
            self._over_since = now
        return self._due - now

    def floods(self, now: float) -> bool:
        return self._over_since is not None and now - self._over_since > FLOOD_S
