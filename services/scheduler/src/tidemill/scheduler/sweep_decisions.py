"""What to do with one open prediction: a pure function of its row, the hints sent so far, and the database's time.

All times are unix seconds of the database's clock, so that no service's clock matters.
"""

from typing import Final

import msgspec

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.limits import ATTEMPTS
from tidemill.contracts.prediction import Status, may_move, status_when_stopped
from tidemill.contracts.subjects import JOBS

QUIET_LIMIT_S: Final = 2.0  # two heartbeats without waiting hints: the hints of a new consumer are counted by then
DEADLINE_GRACE_S: Final = 1.0  # the worker ends a run at its deadline itself, within this time
TIME_LIMIT_GRACE_S: Final = 30.0  # the same for the limit of a run, which may expire during an upload of outputs
HINT_LIFE_S: Final = float(
    JOBS.max_age_s or 600
)  # the stream drops a hint after this time, however long the backlog is
ERROR_LIMIT_CHARS: Final = 2000  # of a boot's error shown to users; it may hold a whole traceback

DEADLINE_UNSTARTED: Final = "The prediction was not started before its deadline."
DEADLINE_RUNNING: Final = "The prediction was stopped at its deadline."
NO_VERSION: Final = "The version of this prediction no longer exists."
DEPLOYMENT_DISABLED: Final = "The deployment was disabled."
LOST: Final = f"The worker that ran this prediction was lost, {ATTEMPTS} times in a row."


class OpenPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """An open prediction as its row was read. `leased`: its worker is not lost; `known`: its queue still exists."""

    id: str
    attempt: int
    status: Status
    account: str
    gateway: str
    queue: str
    worker: str | None
    leased: bool
    known: bool
    accepted_at: float
    created_at: float
    started_at: float | None
    deadline: float | None
    webhook: bool

    @property
    def waits(self) -> bool:
        """No worker has claimed it."""
        return self.status is Status.STARTING and self.worker is None


class SentHints(msgspec.Struct, frozen=True):
    """The hints that the sweep sent for one attempt; the gateway's first hint is not counted."""

    count: int = 0
    last_at: float = 0.0


class SweepContext(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the world for one decision.

    `quiet_s`: how long the prediction's queue has been ready without waiting hints. `bus_back_at`: hints sent before
    this are lost. `boot_error`: why the queue's instances cannot boot, after the limit of failures. `disabled`: the
    queue's deployment is disabled.
    """

    now: float
    quiet_s: float = 0.0
    bus_back_at: float = 0.0
    boot_error: str | None = None
    disabled: bool = False


class SweepRules(msgspec.Struct, frozen=True, kw_only=True):
    republish_after_s: float
    republish_limit_s: float
    time_limit_s: float


class NoAction(msgspec.Struct, frozen=True):
    """Nothing to do."""


class ResendHint(msgspec.Struct, frozen=True):
    """The hint was lost: send another."""


class NextAttempt(msgspec.Struct, frozen=True):
    """The worker is lost: back to starting with the next attempt."""


class EndPrediction(msgspec.Struct, frozen=True):
    status: Status
    code: ErrorCode | None
    error: str


Decision = NoAction | ResendHint | NextAttempt | EndPrediction
NO_ACTION: Final = NoAction()


def decide(row: OpenPrediction, hints: SentHints, seen: SweepContext, rules: SweepRules) -> Decision:
    """Return the decision for one prediction; NO_ACTION if it is terminal."""
    if seen.disabled and may_move(row.status, Status.CANCELED):
        return EndPrediction(Status.CANCELED, ErrorCode.DEPLOYMENT_DISABLED, DEPLOYMENT_DISABLED)
    if row.status is Status.STARTING:
        return _decide_unstarted(row, hints, seen, rules)
    if row.status is Status.PROCESSING:
        return _decide_running(row, seen.now, rules)
    return NO_ACTION


def _decide_unstarted(row: OpenPrediction, hints: SentHints, seen: SweepContext, rules: SweepRules) -> Decision:
    if row.deadline is not None and row.deadline <= seen.now:
        return EndPrediction(status_when_stopped(row.status), ErrorCode.DEADLINE, DEADLINE_UNSTARTED)
    if not row.known:
        return EndPrediction(Status.FAILED, ErrorCode.VERSION_DELETED, NO_VERSION)
    if seen.boot_error is not None:
        return EndPrediction(Status.FAILED, ErrorCode.BOOT_FAILED, boot_error_for_users(seen.boot_error))
    return ResendHint() if _is_hint_lost(row, hints, seen, rules) else NO_ACTION


def _is_hint_lost(row: OpenPrediction, hints: SentHints, seen: SweepContext, rules: SweepRules) -> bool:
    last_at = max(row.accepted_at, hints.last_at)
    if last_at < seen.bus_back_at:
        return True
    since = seen.now - last_at
    wait_s = min(rules.republish_after_s * 2.0 ** min(hints.count, 30), rules.republish_limit_s)
    # While hints wait in the queue, this one may be among them: another hint would only lengthen the queue.
    return since >= wait_s and (seen.quiet_s >= QUIET_LIMIT_S or since >= HINT_LIFE_S)


def _decide_running(row: OpenPrediction, now: float, rules: SweepRules) -> Decision:
    if row.deadline is not None and row.deadline + DEADLINE_GRACE_S <= now:
        return EndPrediction(status_when_stopped(row.status), ErrorCode.DEADLINE, DEADLINE_RUNNING)
    if not row.leased:
        return NextAttempt() if row.attempt < ATTEMPTS else EndPrediction(Status.FAILED, ErrorCode.WORKER_LOST, LOST)
    if row.started_at is not None and row.started_at + rules.time_limit_s + TIME_LIMIT_GRACE_S <= now:
        return EndPrediction(
            Status.FAILED, ErrorCode.TIME_LIMIT, f"The prediction ran longer than {rules.time_limit_s:.0f} seconds."
        )
    return NO_ACTION


def boot_error_for_users(reason: str) -> str:
    """Return the message for users: the instance's error, cut at the front, because the cause stands at the end."""
    cut = reason if len(reason) <= ERROR_LIMIT_CHARS else "…" + reason[-ERROR_LIMIT_CHARS:]
    return f"The model could not be started: {cut}"
