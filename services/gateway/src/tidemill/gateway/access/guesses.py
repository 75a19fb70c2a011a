"""Who passes tokens that are none: after some of them an address waits, so that guessing and loops with a revoked token
are slow and cost no look-ups. In this gateway's memory alone. Pure; times are seconds of one monotonic clock.
"""

from typing import Final

from tidemill.gateway.limits import gcra
from tidemill.gateway.limits.gcra import Rate

# A person mistyping or a script with an old token gets by; the tokens themselves cannot be guessed at any rate.
FAILURES: Final = Rate(per_minute=30, burst=30)
ADDRESSES_LIMIT: Final = 10_000


class Guesses:
    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether anybody has failed lately."""
        return bool(self._full_at)

    def failed(self, address: str, now: float) -> None:
        if len(self._full_at) >= ADDRESSES_LIMIT:
            self._forget(now)
        full_at, _ = gcra.take(self._full_at.get(address, now), now, FAILURES)
        self._full_at[address] = full_at

    def wait_s(self, address: str, now: float) -> float:
        """How long this address must wait before a token of its is looked up; 0 for most."""
        full_at = self._full_at.get(address)
        if full_at is None:
            return 0.0
        if full_at <= now:
            del self._full_at[address]
            return 0.0
        _, verdict = gcra.take(full_at, now, FAILURES)
        return verdict.retry_in_s

    def _forget(self, now: float) -> None:
        """Those that are over; in a flood from very many addresses all, for then this is not what helps."""
        kept = {address: full_at for address, full_at in self._full_at.items() if full_at > now}
        self._full_at = kept if len(kept) < ADDRESSES_LIMIT else {}
