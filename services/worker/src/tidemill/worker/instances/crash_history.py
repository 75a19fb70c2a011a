"""Models that crash before they have finished anything, and how long they wait for their next boot. Pure."""

from collections.abc import MutableMapping
from typing import Final

import msgspec

FREE: Final = 2  # one prediction that crashes a model has two attempts
FIRST_WAIT_S: Final = 1.0  # after one crash more, in a row
WAIT_LIMIT_S: Final = 60.0  # it may have been mended, by other inputs or a machine with more memory


class _CrashCount(msgspec.Struct, frozen=True):
    count: int
    last: float


class CrashHistory:
    """By queue; times are seconds of one monotonic clock. What has finished a prediction has a clean record."""

    def __init__(self) -> None:
        self._crashes: MutableMapping[str, _CrashCount] = {}

    def ended(self, queue: str, now: float, *, crashed: bool, finished: int) -> None:
        """An instance has ended that had finished so many predictions."""
        if finished:
            self._crashes.pop(queue, None)
        if crashed:
            before = self._crashes.get(queue)
            self._crashes[queue] = _CrashCount(1 if before is None else before.count + 1, now)

    def wait_s(self, queue: str, now: float) -> float:
        """How long a boot must still wait."""
        crashes = self._crashes.get(queue)
        if crashes is None or crashes.count <= FREE:
            return 0.0
        # The exponent is bounded before the power is taken: 2.0 ** 5000 overflows.
        pause_s = min(FIRST_WAIT_S * 2.0 ** min(crashes.count - FREE - 1, 30), WAIT_LIMIT_S)
        return max(0.0, crashes.last + pause_s - now)
