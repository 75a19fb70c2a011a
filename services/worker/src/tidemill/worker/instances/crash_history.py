"""How long a model that crashes before it has finished anything waits for its next boot. Pure."""

from collections.abc import MutableMapping
from typing import Final

import msgspec

FREE: Final = 2  # crashes without a wait: one prediction that crashes a model has two attempts
FIRST_WAIT_S: Final = 1.0  # after one more crash in a row; it doubles with each
WAIT_LIMIT_S: Final = 60.0  # the model may run again, with other inputs or on a machine with more memory


class _CrashCount(msgspec.Struct, frozen=True):
    count: int
    last: float


class CrashHistory:
    """Crashes in a row by queue. Times are seconds of one monotonic clock. A finished prediction ends the row."""

    def __init__(self) -> None:
        self._crashes: MutableMapping[str, _CrashCount] = {}

    def record_end(self, queue: str, now: float, *, crashed: bool, finished: int) -> None:
        """Record the end of an instance that had finished so many predictions."""
        if finished:
            self._crashes.pop(queue, None)
        if crashed:
            before = self._crashes.get(queue)
            self._crashes[queue] = _CrashCount(1 if before is None else before.count + 1, now)

    def backoff_s(self, queue: str, now: float) -> float:
        """Return how long a boot must still wait."""
        crashes = self._crashes.get(queue)
        if crashes is None or crashes.count <= FREE:
            return 0.0
        # The exponent is bounded before the power is taken: 2.0 ** 5000 overflows.
        pause_s = min(FIRST_WAIT_S * 2.0 ** min(crashes.count - FREE - 1, 30), WAIT_LIMIT_S)
        return max(0.0, crashes.last + pause_s - now)
