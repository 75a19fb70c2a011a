"""The life of a prediction: its states, the one table of allowed moves, and what that table means in SQL.

Every service asks `transition` or uses `SQL_SOURCES`; nobody compares states by hand.
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

# From each state, the states it may move to. A run that ends at once is never seen processing: its outcome is the
# first thing written. starting → starting and processing → starting are the next attempt after a lost worker.
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


class Position(NamedTuple):
    """Where a prediction is: its state and the attempt that may move it."""

    status: Status
    attempt: int


def transition(now: Position, attempt: int, target: Status) -> Position | None:
    """The position after `attempt` asks for `target`, or None when the fence or the table refuses it.

    Only the current attempt may move a prediction. Going back to starting begins the next attempt.
    """
    if attempt != now.attempt or target not in TRANSITIONS[now.status]:
        return None
    return Position(target, attempt + 1 if target is Status.STARTING else attempt)
