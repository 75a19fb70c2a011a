"""What is remembered of boots that failed: when a queue may be tried again, and when its predictions must fail.

Pure; times are seconds of one monotonic clock.
"""

from collections.abc import Iterable

import msgspec


class Trouble(msgspec.Struct, frozen=True):
    """Failures in a row of one queue, and the seconds they took together."""

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
        self._troubles: dict[str, Trouble] = {}

    def failed(self, queue: str, now: float, took_s: float = 0.0) -> bool:
        """Notes a failure; whether what waits should fail now: at a limit, and again at every failure after it.

        One that took long has shown as much as several that were over at once.
        """
        before = self._troubles.get(queue)
        count = 1 if before is None else before.count + 1
        # The exponent is bounded before the power is taken: 2.0 ** 5000 overflows.
        wait_s = min(self._backoff_s * 2.0 ** min(count - 1, 30), self._backoff_limit_s)
        spent_s = took_s + (0.0 if before is None else before.took_s)
        self._troubles[queue] = Trouble(count, spent_s, now + wait_s)
        return count >= self._failures_limit or spent_s >= self._failures_limit_s

    def succeeded(self, queues: Iterable[str]) -> None:
        for queue in queues:
            self._troubles.pop(queue, None)

    def held_off(self, now: float) -> frozenset[str]:
        """Queues that must not be booted yet."""
        return frozenset(queue for queue, trouble in self._troubles.items() if trouble.retry_at > now)

    def expire(self, now: float) -> None:
        """Nobody has wanted it again for long: the next failure is a first one."""
        kept = {name: each for name, each in self._troubles.items() if now < each.retry_at + self._backoff_limit_s}
        self._troubles = kept
