"""Chooses which waiting version is prefetched next: fair over the accounts that made them. Pure."""

from collections import OrderedDict, deque
from typing import Final

WAITING: Final = 32  # versions of an account; of many pushes, the latest are most likely to be run
ACCOUNTS: Final = 64  # the accounts that have waited longest are dropped: their versions are fetched at boot


class FairQueue:
    """Versions by account. Each account has one under way at a time, and then waits behind all others."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[str]] = OrderedDict()  # the account that goes next first
        self._busy: set[str] = set()

    def add(self, account: str, queue: str) -> None:
        waiting = self._waiting.setdefault(account, deque(maxlen=WAITING))
        if queue not in waiting:
            waiting.append(queue)
        if len(self._waiting) > ACCOUNTS:
            self._waiting.popitem(last=False)

    def take(self) -> tuple[str, str] | None:
        """Return the account and the version that go next, or None where none may. `done` is to follow."""
        account = next((each for each in self._waiting if each not in self._busy), None)
        if account is None:
            return None
        waiting = self._waiting.pop(account)
        queue = waiting.popleft()
        if waiting:
            self._waiting[account] = waiting  # behind the others
        self._busy.add(account)
        return account, queue

    def done(self, account: str) -> None:
        self._busy.discard(account)
