"""What a response status means, and which progress event is sent next. Pure."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import NamedTuple

from tidemill.contracts.api.webhooks import DEFAULT_EVENTS


class Verdict(Enum):
    DELIVERED = "delivered"
    RETRY = "retry"
    GIVE_UP = "give up"


def classify_status(status: int) -> Verdict:
    """Return DELIVERED for 2xx, GIVE_UP for 410 Gone, RETRY for anything else, redirects included."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    return Verdict.GIVE_UP if status == 410 else Verdict.RETRY


def wants(events: Sequence[str] | None, event: str) -> bool:
    return event in (DEFAULT_EVENTS if events is None else events)


class ProgressStep(NamedTuple):
    """The event to send now, and the events to send later."""

    event: str
    rest: frozenset[str]


def next_progress_step(
    noted: AbstractSet[str], wanted: Sequence[str] | None, *, start_sent: bool
) -> ProgressStep | None:
    """Return the next event to send, or None if the owner wants none of the noted ones.

    `start` is sent first and once, whatever the order of the hints. Output and logs noted together become one event.
    """
    if not noted:
        return None
    rest = frozenset(event for event in noted if event != "start" and wants(wanted, event))
    if wants(wanted, "start") and not start_sent:
        return ProgressStep("start", rest)
    if not rest:
        return None
    return ProgressStep("output" if "output" in rest else "logs", frozenset())
