"""The circuit breaker of an endpoint, and disabling after days of failures. Pure.

Closed: every delivery is tried. After FAILURES_TO_OPEN consecutive failures it opens for a growing time, in which
nothing is tried. Then one delivery is a probe, whose result closes or reopens it. A disabled endpoint stays so until
its owner enables it.
"""

from enum import Enum
from typing import Final

import msgspec

FAILURES_TO_OPEN: Final = 5  # fewer would open it for occasional errors
FIRST_OPEN_S: Final = 10.0  # enough for a receiver that restarts
OPEN_LIMIT_S: Final = 600.0  # a receiver that recovered gets its deliveries within ten minutes
JITTER: Final = 0.2  # spreads the probes after an outage of many endpoints
# Successes are recorded at most this often, so that a healthy endpoint costs no writes.
RECORD_SUCCESS_EVERY_S: Final = 60.0


class EndpointHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one endpoint. Times are unix seconds of the database's clock."""

    failures: int = 0  # consecutive
    failing_since: float | None = None  # time of the first of them
    openings: int = 0  # of the breaker without a success between
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


def admission(health: EndpointHealth, now: float) -> Admission:
    """Return what may happen to a delivery now."""
    if health.disabled_at is not None:
        return Admission.SKIP
    if health.open_until is None:
        return Admission.SEND
    return Admission.WAIT if now < health.open_until else Admission.PROBE


def start_probe(health: EndpointHealth, now: float, lease_s: float) -> EndpointHealth:
    """Return the state while one delivery probes: others wait until its lease would expire."""
    return msgspec.structs.replace(health, open_until=now + lease_s)


def after_success(health: EndpointHealth, now: float) -> EndpointHealth:
    return msgspec.structs.replace(after_response(health), succeeded_at=now)


def after_response(health: EndpointHealth) -> EndpointHealth:
    """Close the breaker because the receiver responded, with any status. A disabled endpoint stays disabled."""
    return msgspec.structs.replace(health, failures=0, failing_since=None, openings=0, open_until=None)


def after_failure(
    health: EndpointHealth, now: float, *, randomness: float, probe: bool, disable_after_s: float, scale: float = 1.0
) -> EndpointHealth:
    """Return the state after a failed try.

    `probe`: the failed try was the probe. Tries that started before the breaker opened do not extend its time.
    `randomness` is in [0, 1); `scale` multiplies the time.
    """
    since = now if health.failing_since is None else health.failing_since
    failed = msgspec.structs.replace(health, failures=health.failures + 1, failing_since=since, failed_at=now)
    if health.disabled_at is not None:
        return failed
    if now - since >= disable_after_s:
        days = (now - since) / 86_400
        return disable(failed, now, f"every try has failed for {days:.1f} days")
    opens = probe if health.open_until is not None else failed.failures >= FAILURES_TO_OPEN
    if not opens:
        return failed
    wait_s = open_duration_s(health.openings, randomness) * scale
    return msgspec.structs.replace(failed, openings=health.openings + 1, open_until=now + wait_s)


def open_duration_s(openings: int, randomness: float) -> float:
    """Return how long the breaker stays open after `openings` earlier openings without a success."""
    doubled = FIRST_OPEN_S * 2.0 ** min(openings, 16)
    return min(doubled, OPEN_LIMIT_S) * (1 - JITTER + 2 * JITTER * randomness)


def disable(health: EndpointHealth, now: float, reason: str) -> EndpointHealth:
    return msgspec.structs.replace(health, disabled_at=now, disabled_reason=reason, open_until=None)
