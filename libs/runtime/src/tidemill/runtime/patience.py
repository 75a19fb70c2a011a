"""How long what failed on the way is tried again: by time, for longer than a store takes to restart, so that an outage
costs waiting and no work.

A budget counts from the first failure, and over all that waits for the same server: what is tried after an outage of
that length has failed already. Must never be used for an error that another try does not mend.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter, Gauge

from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import backoffs
from tidemill.runtime.telemetry import log

PATIENCE_S: Final = 90.0  # a store restarts in seconds, one whose machine restarts in a minute
TELL_AFTER_S: Final = 3.0  # waiting for longer is worth a word to whoever waits
LOG_EVERY_S: Final = 10.0  # of an outage; hundreds may wait for its end
RETRIES: Final = Counter("tidemill_objects_retries_total", "Requests to the object store that are tried again")
WAITING: Final = Gauge("tidemill_objects_waiting", "Requests to the object store that wait to be tried again")


class Patience:
    """Of one piece of work, whatever number of requests it takes, from when it is made. `told` is called once, when a
    request of it has waited for long.
    """

    def __init__(self, limit_s: float | None = None, told: Callable[[], None] | None = None) -> None:
        """`limit_s` is PATIENCE_S unless given; with 0 there is a single try."""
        self.limit_s = PATIENCE_S if limit_s is None else limit_s
        self.asked_at = monotonic()
        self._told = told

    def tell(self) -> None:
        if self._told is not None:
            told, self._told = self._told, None
            told()


class Outage:
    """What all requests to one server know together: since when none has got through."""

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

    def over(self) -> None:
        if self.since is not None:
            log().info(f"{self._server} is back", action="reconnect", waited_s=round(monotonic() - self.since, 1))
            self.since, self._logged_at = None, 0.0


class Tries:
    """Of one request. After a failure that may pass, `again` waits and answers whether to try once more."""

    def __init__(self, patience: Patience, outage: Outage) -> None:
        self._patience = patience
        self._outage = outage
        self._waits = backoffs()
        self._failing_since: float | None = None

    def succeeded(self) -> None:
        """Also when a part of it came: the next failure is a first one."""
        self._outage.over()
        if self._failing_since is not None:
            self._waits, self._failing_since = backoffs(), None

    async def again(self, reason: str) -> bool:
        self._outage.failed(reason)
        now, wait = monotonic(), next(self._waits, None)
        if self._failing_since is None:
            self._failing_since = now
        if wait is None or now + wait > self._give_up_at(now):
            return False
        if now - self._failing_since >= TELL_AFTER_S:
            self._patience.tell()
        RETRIES.inc()
        with WAITING.track_inprogress():
            await asyncio.sleep(wait)
        return True

    def _give_up_at(self, now: float) -> float:
        first = now if self._failing_since is None else self._failing_since
        away = now if self._outage.since is None else self._outage.since
        return min(first, max(self._patience.asked_at, away)) + self._patience.limit_s
