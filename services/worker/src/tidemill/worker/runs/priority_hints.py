"""Hints as turns: which ones must ask the rows what runs, because their account has predictions with a priority.

A hint of such an account is a turn of the account in its queue: the most urgent waiting prediction takes it, and what
it displaces runs at the hint of the urgent one (ADR 6). Pure; the rows are asked in `urgent_store`.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tidemill.contracts.events import Job


class WaitingPrediction(NamedTuple):
    """A prediction that may begin. Ids are in the order of time."""

    id: str
    priority: int


def choose(waiting: Sequence[WaitingPrediction]) -> WaitingPrediction | None:
    """What runs at a hint: the most urgent, and of those the oldest."""
    return min(waiting, key=lambda each: (-each.priority, each.id), default=None)


class PriorityHints:
    """The accounts that have urgent predictions waiting, by queue, as far as this worker has heard."""

    def __init__(self) -> None:
        self._noted: dict[str, dict[str, int]] = {}
        self._numbers = itertools.count(1)

    def note(self, queue: str, accounts: Iterable[str]) -> None:
        for account in accounts:
            self._noted.setdefault(queue, {})[account] = next(self._numbers)

    def contested(self, queue: str, job: Job) -> bool:
        """Whether the rows must say what runs at this hint. A hint with a priority may stand for another prediction."""
        if job.priority:
            return True
        noted = self._noted.get(queue)
        return noted is not None and job.account in noted

    def noted(self, queue: str, account: str) -> int:
        """To be handed to `settled` when the rows have been asked."""
        return self._noted.get(queue, {}).get(account, 0)

    def settled(self, queue: str, account: str, noted: int) -> None:
        """Nothing urgent was left when the rows were asked; what was heard of since then stays noted."""
        accounts = self._noted.get(queue, {})
        if accounts.get(account) == noted:
            del accounts[account]
            if not accounts:
                del self._noted[queue]

    def forget(self, queue: str) -> None:
        """The queue has no instance here any more."""
        self._noted.pop(queue, None)
