"""When a failed delivery is tried again. Pure."""

from typing import Final

# Seconds after each failed try: short at first for a receiver that restarts, then more than a day in total for one that
# is down.
RETRY_WAITS_S: Final = (5, 30, 120, 600, 1800, 3600, 7200, 18_000, 36_000, 36_000)
JITTER: Final = 0.2  # spreads the retries after an outage


def next_wait_s(
    tries: int, randomness: float, *, scale: float = 1.0, retry_after_s: float | None = None
) -> float | None:
    """Return the seconds until the next try after `tries` failed ones (1 or more), or None after the last.

    `randomness` is in [0, 1). Retry-After can lengthen the wait up to the longest one, never shorten it.
    """
    if tries > len(RETRY_WAITS_S):
        return None
    wait = RETRY_WAITS_S[tries - 1] * (1 - JITTER + 2 * JITTER * randomness)
    if retry_after_s is not None:
        wait = max(wait, min(retry_after_s, float(RETRY_WAITS_S[-1])))
    return wait * scale
