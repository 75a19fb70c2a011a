"""Who may have how many tries under way, so that a receiver that hangs delays its own deliveries alone. Pure.

An endpoint is an account's host and port: another path there is the same receiver, and another account's tries at the
same host must not wait for this one's.
"""

from collections import Counter
from typing import NamedTuple, TypeVar

KeyT = TypeVar("KeyT")


class Endpoint(NamedTuple):
    account: str
    host: str

    @property
    def key(self) -> str:
        """As `store.LEASE` writes it."""
        return f"{self.account} {self.host}"


class Lanes:
    """Counts what is under way. An account with many endpoints has a bound of its own."""

    def __init__(self, *, endpoint_tries: int, account_tries: int, tries: int) -> None:
        self.endpoint_tries = endpoint_tries
        self._account_tries = account_tries
        self._tries = tries
        self._endpoints: Counter[Endpoint] = Counter()
        self._accounts: Counter[str] = Counter()

    @property
    def room(self) -> int:
        return self._tries - self._accounts.total()

    def take(self, place: Endpoint) -> bool:
        """Whether there was room; what was taken is to be given back."""
        full = (
            self.room <= 0
            or self._endpoints[place] >= self.endpoint_tries
            or self._accounts[place.account] >= self._account_tries
        )
        if not full:
            self._endpoints[place] += 1
            self._accounts[place.account] += 1
        return not full

    def give_back(self, place: Endpoint) -> None:
        _decrease(self._endpoints, place)
        _decrease(self._accounts, place.account)

    def full_endpoints(self) -> list[str]:
        return [place.key for place, count in self._endpoints.items() if count >= self.endpoint_tries]

    def full_accounts(self) -> list[str]:
        return [account for account, count in self._accounts.items() if count >= self._account_tries]


def _decrease(counts: Counter[KeyT], key: KeyT) -> None:
    """Zeros are not kept: there are as many endpoints as customers think of."""
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
