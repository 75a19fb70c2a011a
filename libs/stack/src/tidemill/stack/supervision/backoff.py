"""When a process that died is started again: a pure function of how often it failed and how long it ran."""

FIRST_S = 0.5
CAP_S = 30.0
# A process that ran this long had recovered: its next death is a new story.
RESET_AFTER_S = 60.0
_CAP_EXPONENT = 10


def failures_after(failures: int, uptime_s: float) -> int:
    """The length of the row of failures, counting the death of a process that ran for so long."""
    return 1 if uptime_s >= RESET_AFTER_S else failures + 1


def delay_s(failures: int, jitter: float) -> float:
    """Doubles with each failure up to the cap; `jitter` in 0..1 takes away up to half, so that restarts spread out."""
    full = min(CAP_S, FIRST_S * 2.0 ** min(failures - 1, _CAP_EXPONENT))
    return full * (1 - jitter / 2)
