"""Rates by client address, for requests without an account. Held in this gateway's memory only.

Pure; times are seconds of one monotonic clock.
"""

from typing import Final

from tidemill.gateway.limits import gcra
from tidemill.gateway.limits.gcra import Rate

ADDRESSES_LIMIT: Final = 10_000


class AddressRateLimiter:
    """One rate, applied to each address by itself."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._full_at: dict[str, float] = {}  # by address, as in gcra

    def __bool__(self) -> bool:
        """Whether any address is tracked, that is, has taken something lately."""
        return bool(self._full_at)

    def take(self, address: str, now: float) -> float:
        """Take one request. Return 0 if it is admitted, else in how many seconds one would be."""
        if len(self._full_at) >= ADDRESSES_LIMIT:
            self._evict(now)
        full_at, verdict = gcra.take(self._full_at.get(address, now), now, self._rate)
        self._full_at[address] = full_at
        return verdict.retry_in_s

    def retry_in_s(self, address: str, now: float) -> float:
        """Return in how many seconds a request of this address would be admitted; 0 for most. Takes nothing."""
        full_at = self._full_at.get(address)
        if full_at is None:
            return 0.0
        if full_at <= now:
            del self._full_at[address]
            return 0.0
        _, verdict = gcra.take(full_at, now, self._rate)
        return verdict.retry_in_s

    def _evict(self, now: float) -> None:
        """Remove addresses whose burst is whole again. If all are busy, remove all: a flood from that many addresses
        is not stopped by rates per address.
        """
        kept = {address: full_at for address, full_at in self._full_at.items() if full_at > now}
        self._full_at = kept if len(kept) < ADDRESSES_LIMIT else {}
