"""Whether there is room for one more prediction, from memory: how many the account has open, how long its queue is.

What all gateways have accepted is heard from the scheduler every second; what this one has accepted since is counted
here. Nobody asks the database, and who has not heard from the scheduler for some seconds admits, and counts that.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

from tidemill.contracts.errors import Problem, throttled, unavailable
from tidemill.contracts.events import LoadReport
from tidemill.gateway.limits.allowances import LimitedAccount
from tidemill.gateway.limits.rates import REFUSED, UNCHECKED
from tidemill.runtime.clock import monotonic

LOAD_LIFE_S: Final = 5.0  # five messages missed: the scheduler is changing, and what it said grows old
MARGIN_S: Final = 0.3  # for the way of a message and for commits: rather counted twice for a moment than not at all
OWN_LIFE_S: Final = 10.0  # what this gateway accepted is forgotten after this when no message says so
OPEN_RETRY_S: Final = 5  # by when some of many will have ended
QUEUE_RETRY_S: Final = 30  # a queue that is minutes long is not short a moment later


class QueueLimits(NamedTuple):
    """When a queue takes no more: its oldest prediction has waited for so long, or so many wait."""

    age_s: float
    waiting: int


class LocalPrediction(NamedTuple):
    account: str
    at: float


class AdmissionControl:
    """Times are seconds of one monotonic clock."""

    def __init__(self, crowd: QueueLimits) -> None:
        self._crowd = crowd
        self._open: dict[str, int] = {}
        self._full: dict[str, str] = {}  # queues that take no more, with the reason
        self._heard_at = float("-inf")
        # Accepted here and not in the scheduler's count yet, oldest first; a dict is slow to find its first item
        # when many before it are gone.
        self._own: OrderedDict[str, LocalPrediction] = OrderedDict()
        self._own_open: dict[str, int] = {}

    def admit(self, account: LimitedAccount, queue: str, prediction: str, now: float) -> None:
        """Counts a prediction that is about to be accepted. Raises the 503 and the 429 problem."""
        if self._full and queue in self._full and now - self._heard_at < LOAD_LIFE_S:
            REFUSED.labels("queue").inc()
            raise _full(self._full[queue])
        if account.allowances is None:
            return
        if now - self._heard_at >= LOAD_LIFE_S:
            UNCHECKED.labels("open").inc()
            self._forget(now - OWN_LIFE_S)
        if self.open_predictions(account.id, now) >= account.allowances.open_predictions:
            REFUSED.labels("open").inc()
            raise _too_many(account.allowances.open_predictions)
        self._own[prediction] = LocalPrediction(account.id, now)
        self._own_open[account.id] = self._own_open.get(account.id, 0) + 1

    def open_predictions(self, account: str, now: float) -> int:
        """As far as is known here: what other gateways have accepted within a second or two is missing."""
        told = self._open.get(account, 0) if now - self._heard_at < LOAD_LIFE_S else 0
        return told + self._own_open.get(account, 0)

    def ended(self, prediction: str) -> None:
        own = self._own.pop(prediction, None)
        if own is None:
            return
        left = self._own_open[own.account] - 1
        if left:
            self._own_open[own.account] = left
        else:
            del self._own_open[own.account]

    async def on_load(self, load: LoadReport) -> None:
        self.hear(load, monotonic())

    def hear(self, load: LoadReport, now: float) -> None:
        self._heard_at = now
        self._open = load.open
        reasons = {each.queue: self._why_full(each.waiting, load.at - each.oldest_at) for each in load.queues}
        self._full = {queue: why for queue, why in reasons.items() if why is not None}
        self._forget(now - load.behind_s - MARGIN_S)

    def _why_full(self, waiting: int, age_s: float) -> str | None:
        if age_s > self._crowd.age_s:
            return f"the oldest of its {waiting} waiting predictions has waited for {age_s:.0f} s"
        return f"{waiting} predictions wait" if waiting >= self._crowd.waiting else None

    def _forget(self, before: float) -> None:
        """What was accepted before is in the scheduler's count."""
        while self._own:
            first = next(iter(self._own))
            if self._own[first].at >= before:
                return
            self.ended(first)


def _full(why: str) -> Problem:
    return unavailable(f"The queue of this model is full: {why}. Please retry later.", QUEUE_RETRY_S)


def _too_many(limit: int) -> Problem:
    return throttled(
        OPEN_RETRY_S,
        f"Request was throttled. {limit} predictions of this account are open, which is as many as it may have at a"
        " time. Wait until some have ended, or cancel them.",
    )
