"""How long a failed request to the object store is retried: by time, and for longer than a store takes to restart, so
that an outage costs waiting and no work.

The time counts from a request's first failure. In an outage of the server it counts from the start of the outage, or
from when the budget was made if that is later: a request that waited for its turn does not get the whole time again.
Never use it for an error that a retry cannot mend.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter, Gauge

from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import backoffs
from tidemill.runtime.telemetry import log

RETRY_BUDGET_S: Final = 90.0  # a store restarts in seconds, and in a minute with its machine
NOTIFY_AFTER_S: Final = 3.0  # the user is told of a longer wait
LOG_EVERY_S: Final = 10.0  # one line for an outage, however many requests wait for its end
RETRIES: Final = Counter("tidemill_objects_retries_total", "Requests to the object store that are tried again")
WAITING: Final = Gauge("tidemill_objects_waiting", "Requests to the object store that wait to be tried again")


class RetryBudget:
    """How long the requests of one piece of work are retried, whatever their number. Make it when the work begins.

    `on_wait` is called once, when a request has been retried for NOTIFY_AFTER_S.
    """

    def __init__(self, limit_s: float | None = None, on_wait: Callable[[], None] | None = None) -> None:
        """`limit_s` defaults to RETRY_BUDGET_S; 0 means a single try."""
        self.limit_s = RETRY_BUDGET_S if limit_s is None else limit_s
        self.started_at = monotonic()
        self._on_wait = on_wait

    def notify(self) -> None:
        if self._on_wait is not None:
            on_wait, self._on_wait = self._on_wait, None
            on_wait()


class Outage:
    """Since when no request to one server has succeeded; all its requests share it."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._logged_at = 0.0
        self.since: float | None = None

    def failed(self, reason: str) -> None:
        now = monotonic()
        if self.since is None:
            self.since = now
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            away_s = round(now - self.since, 1)
            log().warning(f"{self._server} away", action="retry", error=reason, waited_s=away_s)

    def ended(self) -> None:
        if self.since is not None:
            log().info(f"{self._server} is back", action="reconnect", waited_s=round(monotonic() - self.since, 1))
            self.since, self._logged_at = None, 0.0


class Retries:
    """The retries of one request."""

    def __init__(self, budget: RetryBudget, outage: Outage) -> None:
        self._budget = budget
        self._outage = outage
        self._waits = backoffs()
        self._failing_since: float | None = None

    def succeeded(self) -> None:
        """Call it also when a part of the reply came: the next failure then counts as the first."""
        self._outage.ended()
        if self._failing_since is not None:
            self._waits, self._failing_since = backoffs(), None

    async def wait(self, reason: str) -> bool:
        """Wait after a failure that may pass. Return False when the budget is spent."""
        self._outage.failed(reason)
        now, wait = monotonic(), next(self._waits, None)
        if self._failing_since is None:
            self._failing_since = now
        if wait is None or now + wait > self._give_up_at(now):
            return False
        if now - self._failing_since >= NOTIFY_AFTER_S:
            self._budget.notify()
        RETRIES.inc()
        with WAITING.track_inprogress():
            await asyncio.sleep(wait)
        return True

    def _give_up_at(self, now: float) -> float:
        first = now if self._failing_since is None else self._failing_since
        away = now if self._outage.since is None else self._outage.since
        return min(first, max(self._budget.started_at, away)) + self._budget.limit_s
