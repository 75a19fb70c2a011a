"""The generic cell rate algorithm: one moment per allowance says all that a rate limit needs. Pure.

`full_at` is when the whole burst will be there again (the algorithm's "theoretical arrival time"). Each unit taken
moves it one interval on, time passing catches up with it, and nothing has to be filled by the clock.
"""

import math
from typing import NamedTuple

import msgspec

ROUNDING_S = 1e-9  # of sums of intervals, so that the last unit of a burst is not lost to it


class Rate(msgspec.Struct, frozen=True):
    """So many a minute in the long run, and `burst` at once after a pause. Both at least 1."""

    per_minute: int
    burst: int

    @property
    def interval_s(self) -> float:
        """In which one unit comes back."""
        return 60.0 / self.per_minute


class Verdict(NamedTuple):
    """What a request is told. `full_in_s`: until the whole burst is there; `retry_in_s`: 0 when it was admitted."""

    admitted: bool
    limit: int
    remaining: int
    full_in_s: float
    retry_in_s: float


def take(full_at: float, now: float, rate: Rate, cost: int = 1) -> tuple[float, Verdict]:
    """The new `full_at`, unchanged when refused. What costs more than the burst is admitted when the burst is whole."""
    start, interval = max(full_at, now), rate.interval_s
    early_s = start + (cost - max(rate.burst, cost)) * interval - now
    if early_s > ROUNDING_S:
        return full_at, _verdict(rate, start - now, early_s)
    after = start + cost * interval
    return after, _verdict(rate, after - now, 0.0)


def _verdict(rate: Rate, full_in_s: float, retry_in_s: float) -> Verdict:
    remaining = math.floor((rate.burst * rate.interval_s - full_in_s + ROUNDING_S) / rate.interval_s)
    return Verdict(
        admitted=not retry_in_s,
        limit=rate.burst,
        remaining=max(remaining, 0),
        full_in_s=full_in_s,
        retry_in_s=retry_in_s,
    )
