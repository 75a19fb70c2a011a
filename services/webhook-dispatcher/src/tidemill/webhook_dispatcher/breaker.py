"""Which endpoints are tried: a circuit breaker for each, and the end of those that have failed for days. Pure.

Closed, every delivery is tried. After FAILURES_TO_OPEN failures in a row it opens for a growing time in which nothing
is tried; then a single delivery probes, and its result closes it or opens it again. A disabled endpoint waits for its
owner.
"""

from enum import Enum
from typing import Final

import msgspec

FAILURES_TO_OPEN: Final = 5  # one bad deploy's worth; fewer would open it for a receiver that is merely unlucky
OPEN_FIRST_S: Final = 10.0  # a receiver that restarts is back by then
OPEN_LIMIT_S: Final = 600.0  # a receiver that is back hears of it within ten minutes
JITTER: Final = 0.2  # so that endpoints of one outage are not probed at the same moment
SEEN_EVERY_S: Final = 60.0  # successes are written down no more often: a healthy endpoint costs nothing


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one endpoint. Times are the database's, in unix seconds."""

    failures: int = 0  # in a row
    failing_since: float | None = None  # the first of them
    openings: int = 0  # of the breaker, in a row
    open_until: float | None = None
    disabled_at: float | None = None
    disabled_reason: str | None = None
    succeeded_at: float | None = None
    failed_at: float | None = None


class Admission(Enum):
    SEND = "send"
    PROBE = "probe"
    WAIT = "wait"
    SKIP = "skip"


def admission(health: Health, now: float) -> Admission:
    """What a delivery may do now."""
    if health.disabled_at is not None:
        return Admission.SKIP
    if health.open_until is None:
        return Admission.SEND
    return Admission.WAIT if now < health.open_until else Admission.PROBE


def probing(health: Health, now: float, lease_s: float) -> Health:
    """One delivery probes: others wait, for no longer than a prober that died could have taken."""
    return msgspec.structs.replace(health, open_until=now + lease_s)


def after_success(health: Health, now: float) -> Health:
    return msgspec.structs.replace(after_answer(health), succeeded_at=now)


def after_answer(health: Health) -> Health:
    """Closes the breaker: the receiver is there, whatever it said. What is disabled stays so."""
    return msgspec.structs.replace(health, failures=0, failing_since=None, openings=0, open_until=None)


def after_failure(
    health: Health, now: float, *, randomness: float, probe: bool, disable_after_s: float, scale: float = 1.0
) -> Health:
    """`probe`: the failed try was the one that this opening allowed. Tries that began before it opened add nothing to
    its time. `randomness` is in [0, 1); `scale` multiplies the time.
    """
    since = now if health.failing_since is None else health.failing_since
    failed = msgspec.structs.replace(health, failures=health.failures + 1, failing_since=since, failed_at=now)
    if health.disabled_at is not None:
        return failed
    if now - since >= disable_after_s:
        days = (now - since) / 86_400
        return disabled(failed, now, f"every try has failed for {days:.1f} days")
    opens = probe if health.open_until is not None else failed.failures >= FAILURES_TO_OPEN
    if not opens:
        return failed
    wait_s = open_s(health.openings, randomness) * scale
    return msgspec.structs.replace(failed, openings=health.openings + 1, open_until=now + wait_s)


def open_s(openings: int, randomness: float) -> float:
    """How long it opens when it has opened that often before without a success."""
    doubled = OPEN_FIRST_S * 2.0 ** min(openings, 16)
    return min(doubled, OPEN_LIMIT_S) * (1 - JITTER + 2 * JITTER * randomness)


def disabled(health: Health, now: float, reason: str) -> Health:
    return msgspec.structs.replace(health, disabled_at=now, disabled_reason=reason, open_until=None)
