"""Admission control: whether one more prediction may be accepted, by the account's open ones and the queue's length.

Decides from memory, without a query. The scheduler publishes every second what all gateways have accepted; what this
gateway has accepted since is counted here. While no report has come for LOAD_LIFE_S, no queue counts as full, and
creates are counted as unchecked.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

from tidemill.contracts.errors import Problem, throttled, unavailable
from tidemill.contracts.events import LoadReport
from tidemill.gateway.limits.allowances import LimitedAccount
from tidemill.gateway.limits.rates import REFUSED, UNCHECKED
from tidemill.runtime.clock import monotonic

LOAD_LIFE_S: Final = 5.0  # five reports are missing: the scheduler restarts or fails over, and the last one is stale
MARGIN_S: Final = 0.3  # for messages and commits under way: better counted twice for a moment than not at all
OWN_LIFE_S: Final = 10.0  # without reports, predictions accepted here stop counting after this
OPEN_RETRY_S: Final = 5  # within this some of many open predictions end
QUEUE_RETRY_S: Final = 30  # a queue that is minutes long does not get short within seconds


class QueueLimits(NamedTuple):
    """A queue is full when its oldest prediction has waited longer than `age_s`, or `waiting` predictions wait."""

    age_s: float
    waiting: int


class OwnPrediction(NamedTuple):
    account: str
    at: float


class AdmissionControl:
    """Times are seconds of one monotonic clock."""

    def __init__(self, queue_limits: QueueLimits) -> None:
        self._queue_limits = queue_limits
        self._open: dict[str, int] = {}
        self._full: dict[str, str] = {}  # full queues with the reason
        self._reported_at = float("-inf")
        # Accepted here and not in the scheduler's count yet, oldest first. A plain dict would be slow to find its
        # first item after many removals at the front.
        self._own: OrderedDict[str, OwnPrediction] = OrderedDict()
        self._own_open: dict[str, int] = {}

    def admit(self, account: LimitedAccount, queue: str, prediction: str, now: float) -> None:
        """Count a prediction that is about to be accepted. Raise the 503 and the 429 problem."""
        if self._full and queue in self._full and now - self._reported_at < LOAD_LIFE_S:
            REFUSED.labels("queue").inc()
            raise _full(self._full[queue])
        if account.allowances is None:
            return
        if now - self._reported_at >= LOAD_LIFE_S:
            UNCHECKED.labels("open").inc()
            self._drop_own(now - OWN_LIFE_S)
        if self.open_predictions(account.id, now) >= account.allowances.open_predictions:
            REFUSED.labels("open").inc()
            raise _too_many(account.allowances.open_predictions)
        self._own[prediction] = OwnPrediction(account.id, now)
        self._own_open[account.id] = self._own_open.get(account.id, 0) + 1

    def open_predictions(self, account: str, now: float) -> int:
        """Return the number known here: what other gateways accepted within the last second or two is missing."""
        reported = self._open.get(account, 0) if now - self._reported_at < LOAD_LIFE_S else 0
        return reported + self._own_open.get(account, 0)

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
        self.apply(load, monotonic())

    def apply(self, load: LoadReport, now: float) -> None:
        self._reported_at = now
        self._open = load.open
        reasons = {each.queue: self._why_full(each.waiting, load.at - each.oldest_at) for each in load.queues}
        self._full = {queue: why for queue, why in reasons.items() if why is not None}
        self._drop_own(now - load.behind_s - MARGIN_S)

    def _why_full(self, waiting: int, age_s: float) -> str | None:
        if age_s > self._queue_limits.age_s:
            return f"the oldest of its {waiting} waiting predictions has waited for {age_s:.0f} s"
        return f"{waiting} predictions wait" if waiting >= self._queue_limits.waiting else None

    def _drop_own(self, before: float) -> None:
        """Stop counting predictions accepted here before this moment: the scheduler's count has them."""
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
