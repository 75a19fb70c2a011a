"""Limits of concurrent tries per endpoint, per account and in total, so that a slow receiver delays only itself. Pure.

An endpoint is a host and port of one account: another path is the same receiver, and another account's tries at the
same host must not wait for this account's.
"""

from collections import Counter
from typing import NamedTuple, TypeVar

KeyT = TypeVar("KeyT")


class EndpointKey(NamedTuple):
    account: str
    host: str

    @property
    def key(self) -> str:
        """Return the key as `store.LEASE` builds it."""
        return f"{self.account} {self.host}"


class ConcurrencyLimits:
    """Counts tries in progress. An account with many endpoints has a limit of its own."""

    def __init__(self, *, endpoint_tries: int, account_tries: int, tries: int) -> None:
        self.endpoint_tries = endpoint_tries
        self._account_tries = account_tries
        self._tries = tries
        self._endpoints: Counter[EndpointKey] = Counter()
        self._accounts: Counter[str] = Counter()

    @property
    def free_slots(self) -> int:
        return self._tries - self._accounts.total()

    def acquire(self, endpoint: EndpointKey) -> bool:
        """Take a slot for a try. Return False if none is free; otherwise the caller must call `release`."""
        full = (
            self.free_slots <= 0
            or self._endpoints[endpoint] >= self.endpoint_tries
            or self._accounts[endpoint.account] >= self._account_tries
        )
        if not full:
            self._endpoints[endpoint] += 1
            self._accounts[endpoint.account] += 1
        return not full

    def release(self, endpoint: EndpointKey) -> None:
        _decrease(self._endpoints, endpoint)
        _decrease(self._accounts, endpoint.account)

    def full_endpoints(self) -> list[str]:
        return [endpoint.key for endpoint, count in self._endpoints.items() if count >= self.endpoint_tries]

    def full_accounts(self) -> list[str]:
        return [account for account, count in self._accounts.items() if count >= self._account_tries]


def _decrease(counts: Counter[KeyT], key: KeyT) -> None:
    """Decrease a count and drop zeros, because the number of endpoints is unbounded."""
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
