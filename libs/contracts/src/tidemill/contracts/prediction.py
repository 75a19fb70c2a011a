"""The states of a prediction, the table of allowed transitions, and the same table as SQL.

Services call `may_move` and `status_when_stopped`; SQL statements use `SQL_SOURCES`, `SQL_ENDS` and `SQL_OPEN`.
Tests compare every statement with `transition`.
"""

from enum import StrEnum
from typing import Final, NamedTuple


class Status(StrEnum):
    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    ABORTED = "aborted"


TERMINAL: Final = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.ABORTED})

# From each state, the states it may change to. A run that ends at once is never stored as processing: its outcome is
# the first write. starting → starting and processing → starting start the next attempt after a lost worker.
TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.STARTING: frozenset(
        {Status.STARTING, Status.PROCESSING, Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.ABORTED}
    ),
    Status.PROCESSING: frozenset({Status.STARTING, Status.SUCCEEDED, Status.FAILED, Status.CANCELED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELED: frozenset(),
    Status.ABORTED: frozenset(),
}

# For each target state, the SQL list of states it may be reached from: "status IN " + SQL_SOURCES[target].
SQL_SOURCES: Final[dict[Status, str]] = {
    target: "(" + ", ".join(f"'{source}'" for source in TRANSITIONS if target in TRANSITIONS[source]) + ")"
    for target in Status
}
SQL_OPEN: Final = "(" + ", ".join(f"'{status}'" for status in Status if status not in TERMINAL) + ")"
# The transitions that end a prediction, as SQL pairs: "(row.status, outcome.status) IN " + SQL_ENDS.
SQL_ENDS: Final = (
    "("
    + ", ".join(
        f"('{source}', '{target}')"
        for source in Status
        for target in Status
        if target in TRANSITIONS[source] & TERMINAL
    )
    + ")"
)


class PredictionState(NamedTuple):
    """The status of a prediction, and the attempt that may change it."""

    status: Status
    attempt: int


def may_move(source: Status, target: Status) -> bool:
    """Return whether the table allows the transition."""
    return target in TRANSITIONS[source]


def status_when_stopped(status: Status) -> Status:
    """Return the terminal status of an open prediction that is stopped now: aborted if it never ran, else canceled."""
    return Status.ABORTED if may_move(status, Status.ABORTED) else Status.CANCELED


def transition(now: PredictionState, attempt: int, target: Status) -> PredictionState | None:
    """Return the state after `attempt` requests `target`, or None if the fence or the table refuses it.

    Only the current attempt may change a prediction. Going back to starting begins the next attempt.
    """
    if attempt != now.attempt or not may_move(now.status, target):
        return None
    return PredictionState(target, attempt + 1 if target is Status.STARTING else attempt)
