"""Rates by address, for requests that no account answers for. In this gateway's memory alone.

Pure; times are seconds of one monotonic clock.
"""

from typing import Final

from tidemill.gateway.limits import gcra
from tidemill.gateway.limits.gcra import Rate

ADDRESSES_LIMIT: Final = 10_000


class Addresses:
    """What each address has taken of the rate."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._full_at: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether anybody has taken anything lately."""
        return bool(self._full_at)

    def take(self, address: str, now: float) -> float:
        """Takes one. 0, or when there is none left in how many seconds there is another."""
        if len(self._full_at) >= ADDRESSES_LIMIT:
            self._forget(now)
        full_at, verdict = gcra.take(self._full_at.get(address, now), now, self._rate)
        self._full_at[address] = full_at
        return verdict.retry_in_s

    def wait_s(self, address: str, now: float) -> float:
        """In how many seconds this address could take one; 0 for most."""
        full_at = self._full_at.get(address)
        if full_at is None:
            return 0.0
        if full_at <= now:
            del self._full_at[address]
            return 0.0
        _, verdict = gcra.take(full_at, now, self._rate)
        return verdict.retry_in_s

    def _forget(self, now: float) -> None:
        """Those that are over; in a flood from very many addresses all, for then this is not what helps."""
        kept = {address: full_at for address, full_at in self._full_at.items() if full_at > now}
        self._full_at = kept if len(kept) < ADDRESSES_LIMIT else {}
