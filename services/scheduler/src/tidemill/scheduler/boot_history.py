"""Failed boots per queue: when the next boot may be tried, and when the waiting predictions must fail.

Pure; times are seconds of one monotonic clock.
"""

from collections.abc import Iterable

import msgspec


class BootFailures(msgspec.Struct, frozen=True):
    """Consecutive failed boots of one queue. `took_s` is their total duration."""

    count: int
    took_s: float
    retry_at: float


class BootHistory:
    def __init__(
        self, *, failures_limit: int, backoff_s: float, backoff_limit_s: float, failures_limit_s: float
    ) -> None:
        self._failures_limit = failures_limit
        self._failures_limit_s = failures_limit_s
        self._backoff_s = backoff_s
        self._backoff_limit_s = backoff_limit_s
        self._failures: dict[str, BootFailures] = {}

    def record_failure(self, queue: str, now: float, took_s: float = 0.0) -> bool:
        """Record a failure. Return whether the waiting predictions should fail now.

        True when the number or the total duration of consecutive failures reaches its limit, and at each failure after
        that: one boot that hangs proves as much as several that fail at once.
        """
        before = self._failures.get(queue)
        count = 1 if before is None else before.count + 1
        # The exponent is bounded before the power is taken: 2.0 ** 5000 overflows.
        wait_s = min(self._backoff_s * 2.0 ** min(count - 1, 30), self._backoff_limit_s)
        spent_s = took_s + (0.0 if before is None else before.took_s)
        self._failures[queue] = BootFailures(count, spent_s, now + wait_s)
        return count >= self._failures_limit or spent_s >= self._failures_limit_s

    def record_success(self, queues: Iterable[str]) -> None:
        for queue in queues:
            self._failures.pop(queue, None)

    def backing_off(self, now: float) -> frozenset[str]:
        """Return the queues that must not be booted yet."""
        return frozenset(queue for queue, each in self._failures.items() if each.retry_at > now)

    def expire(self, now: float) -> None:
        """Forget queues that had no further failure for a long time; their next failure counts as the first."""
        kept = {name: each for name, each in self._failures.items() if now < each.retry_at + self._backoff_limit_s}
        self._failures = kept
