"""Priority hints: which hints need a priority claim, because their account has predictions with a priority (ADR 6).

A hint of such an account is one turn of the account in its queue: the most urgent waiting prediction takes it, and the
prediction that it displaces runs at the urgent one's hint. Pure; `urgent_store` asks the rows.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tidemill.contracts.events import Job


class WaitingPrediction(NamedTuple):
    """A prediction that may begin. Ids sort by time of creation."""

    id: str
    priority: int


def choose(waiting: Sequence[WaitingPrediction]) -> WaitingPrediction | None:
    """Return what runs at a hint: the most urgent, and of those the oldest. None if nothing waits."""
    return min(waiting, key=lambda each: (-each.priority, each.id), default=None)


class PriorityHints:
    """The accounts with urgent predictions waiting, by queue, as far as this worker was told."""

    def __init__(self) -> None:
        self._numbers_by_account: dict[str, dict[str, int]] = {}
        self._next_number = itertools.count(1)

    def note(self, queue: str, accounts: Iterable[str]) -> None:
        for account in accounts:
            self._numbers_by_account.setdefault(queue, {})[account] = next(self._next_number)

    def is_contested(self, queue: str, job: Job) -> bool:
        """Whether the rows must choose what runs at this hint. A hint with a priority may stand for another one."""
        if job.priority:
            return True
        accounts = self._numbers_by_account.get(queue)
        return accounts is not None and job.account in accounts

    def number(self, queue: str, account: str) -> int:
        """Return the number of the account's last note, for `settle`; 0 if it has none."""
        return self._numbers_by_account.get(queue, {}).get(account, 0)

    def settle(self, queue: str, account: str, number: int) -> None:
        """Forget the account: the rows had nothing urgent left. A note with a later number than this one stays."""
        accounts = self._numbers_by_account.get(queue, {})
        if accounts.get(account) == number:
            del accounts[account]
            if not accounts:
                del self._numbers_by_account[queue]

    def forget(self, queue: str) -> None:
        """Forget a queue that has no instance here any more."""
        self._numbers_by_account.pop(queue, None)
