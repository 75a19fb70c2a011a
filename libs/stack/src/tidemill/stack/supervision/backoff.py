"""The waiting time before a restart, as pure functions of the failures so far and of the time that the process ran."""

FIRST_S = 0.5
CAP_S = 30.0
# A process that ran this long had recovered: its next end counts as the first failure.
RESET_AFTER_S = 60.0
_CAP_EXPONENT = 10


def failures_after(failures: int, uptime_s: float) -> int:
    """Return the number of failures in a row, with the end of a process that ran for `uptime_s`."""
    return 1 if uptime_s >= RESET_AFTER_S else failures + 1


def delay_s(failures: int, jitter: float) -> float:
    """Return a delay that doubles with each failure up to CAP_S. `jitter` (0 to 1) shortens it by up to half."""
    full = min(CAP_S, FIRST_S * 2.0 ** min(failures - 1, _CAP_EXPONENT))
    return full * (1 - jitter / 2)
