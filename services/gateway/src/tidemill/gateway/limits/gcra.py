"""The generic cell rate algorithm (GCRA): the whole state of a rate limit is one moment, `full_at`. Pure.

`full_at` is when the whole burst is available again (the algorithm's "theoretical arrival time"). Each unit taken adds
one interval to it; nothing has to be refilled by a timer.
"""

import math
from typing import NamedTuple

import msgspec

ROUNDING_S = 1e-9  # rounding errors of sums of intervals, which would cost the last unit of a burst


class Rate(msgspec.Struct, frozen=True):
    """`per_minute` in the long run, and `burst` at once after a pause. Both at least 1."""

    per_minute: int
    burst: int

    @property
    def interval_s(self) -> float:
        """In how many seconds one unit becomes available."""
        return 60.0 / self.per_minute


class Verdict(NamedTuple):
    """The decision on a request. `full_in_s`: until the whole burst is available; `retry_in_s`: 0 if admitted."""

    admitted: bool
    limit: int
    remaining: int
    full_in_s: float
    retry_in_s: float


def take(full_at: float, now: float, rate: Rate, cost: int = 1) -> tuple[float, Verdict]:
    """Return the new `full_at`, unchanged if refused. A cost above the burst is admitted when the burst is whole."""
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
