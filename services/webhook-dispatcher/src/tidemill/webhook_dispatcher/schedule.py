"""When a delivery that failed is tried again. Pure."""

from typing import Final

# Seconds after each failed try: quick at first for a receiver that restarts, then over more than a day for one that is
# down.
WAITS_S: Final = (5, 30, 120, 600, 1800, 3600, 7200, 18_000, 36_000, 36_000)
JITTER: Final = 0.2  # so that the retries of an outage do not come back all at once


def next_wait_s(
    tries: int, randomness: float, *, scale: float = 1.0, retry_after_s: float | None = None
) -> float | None:
    """Seconds until the next try after `tries` failed ones (1 or more); None when that was the last.

    `randomness` is in [0, 1). A receiver may ask for more patience by Retry-After, never for less, and for no more
    than the longest wait.
    """
    if tries > len(WAITS_S):
        return None
    wait = WAITS_S[tries - 1] * (1 - JITTER + 2 * JITTER * randomness)
    if retry_after_s is not None:
        wait = max(wait, min(retry_after_s, float(WAITS_S[-1])))
    return wait * scale
