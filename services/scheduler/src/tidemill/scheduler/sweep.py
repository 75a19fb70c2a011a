"""What to do about one open prediction: a pure function of its row, what was done before, and the database's time.

All times are unix seconds of the database's clock, so that no service's clock decides anything.
"""

from typing import Final

import msgspec

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.limits import ATTEMPTS
from tidemill.contracts.prediction import Status, may_move, status_when_stopped
from tidemill.contracts.subjects import JOBS

QUIET_S: Final = 2.0  # two heartbeats that see no hints waiting: those of a fresh consumer are known by then
OVERDUE_S: Final = 1.0  # the worker ends a run at its deadline itself; this long it may take
RUN_OVERDUE_S: Final = 30.0  # the same for the run limit, which may fall into an upload of outputs
HINT_LIFE_S: Final = float(JOBS.max_age_s or 600)  # by then the stream has dropped a hint, whatever the backlog
ERROR_LIMIT_CHARS: Final = 2000  # of a boot's error shown to users; it may hold a whole traceback

DEADLINE_UNSTARTED: Final = "The prediction was not started before its deadline."
DEADLINE_RUNNING: Final = "The prediction was stopped at its deadline."
NO_VERSION: Final = "The version of this prediction no longer exists."
DEPLOYMENT_DISABLED: Final = "The deployment was disabled."
LOST: Final = f"The worker that ran this prediction was lost, {ATTEMPTS} times in a row."


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An open prediction. `leased`: its worker is not lost; `known`: its queue still exists."""

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
        """Nobody has claimed it."""
        return self.status is Status.STARTING and self.worker is None


class Hints(msgspec.Struct, frozen=True):
    """Hints that the sweep has sent for an attempt of a prediction; the gateway's is not counted."""

    count: int = 0
    last_at: float = 0.0


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """`quiet_s`: since when its ready queue has had no hints waiting; `bus_back_at`: hints from before are gone;
    `doomed`: why the queue's instances cannot boot, once that has been given up; `closed`: its deployment is disabled.
    """

    now: float
    quiet_s: float = 0.0
    bus_back_at: float = 0.0
    doomed: str | None = None
    closed: bool = False


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    republish_after_s: float
    republish_limit_s: float
    time_limit_s: float


class Keep(msgspec.Struct, frozen=True):
    """Nothing to do."""


class Republish(msgspec.Struct, frozen=True):
    """Its hint was lost: send another."""


class NextAttempt(msgspec.Struct, frozen=True):
    """Its worker is lost: back to starting, with the next attempt."""


class End(msgspec.Struct, frozen=True):
    status: Status
    code: ErrorCode | None
    error: str


Decision = Keep | Republish | NextAttempt | End
KEEP: Final = Keep()


def decide(row: Row, hints: Hints, seen: Circumstances, rules: Rules) -> Decision:
    """One decision for an open row. Nothing is decided about a terminal one."""
    if seen.closed and may_move(row.status, Status.CANCELED):
        return End(Status.CANCELED, ErrorCode.DEPLOYMENT_DISABLED, DEPLOYMENT_DISABLED)
    if row.status is Status.STARTING:
        return _unstarted(row, hints, seen, rules)
    if row.status is Status.PROCESSING:
        return _running(row, seen.now, rules)
    return KEEP


def _unstarted(row: Row, hints: Hints, seen: Circumstances, rules: Rules) -> Decision:
    if row.deadline is not None and row.deadline <= seen.now:
        return End(status_when_stopped(row.status), ErrorCode.DEADLINE, DEADLINE_UNSTARTED)
    if not row.known:
        return End(Status.FAILED, ErrorCode.VERSION_DELETED, NO_VERSION)
    if seen.doomed is not None:
        return End(Status.FAILED, ErrorCode.BOOT_FAILED, boot_error(seen.doomed))
    return Republish() if _hint_lost(row, hints, seen, rules) else KEEP


def _hint_lost(row: Row, hints: Hints, seen: Circumstances, rules: Rules) -> bool:
    last_at = max(row.accepted_at, hints.last_at)
    if last_at < seen.bus_back_at:
        return True
    since = seen.now - last_at
    wait_s = min(rules.republish_after_s * 2.0 ** min(hints.count, 30), rules.republish_limit_s)
    # Where hints wait, this one may be among them: sending it again would only lengthen the line.
    return since >= wait_s and (seen.quiet_s >= QUIET_S or since >= HINT_LIFE_S)


def _running(row: Row, now: float, rules: Rules) -> Decision:
    if row.deadline is not None and row.deadline + OVERDUE_S <= now:
        return End(status_when_stopped(row.status), ErrorCode.DEADLINE, DEADLINE_RUNNING)
    if not row.leased:
        return NextAttempt() if row.attempt < ATTEMPTS else End(Status.FAILED, ErrorCode.WORKER_LOST, LOST)
    if row.started_at is not None and row.started_at + rules.time_limit_s + RUN_OVERDUE_S <= now:
        return End(
            Status.FAILED, ErrorCode.TIME_LIMIT, f"The prediction ran longer than {rules.time_limit_s:.0f} seconds."
        )
    return KEEP


def boot_error(reason: str) -> str:
    """What users read: the instance's own words, the end of them where they are long, for errors stand last."""
    cut = reason if len(reason) <= ERROR_LIMIT_CHARS else "…" + reason[-ERROR_LIMIT_CHARS:]
    return f"The model could not be started: {cut}"
