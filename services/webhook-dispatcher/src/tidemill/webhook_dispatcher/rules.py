"""What an answer means, and which event a prediction's owner is told next. Pure."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import NamedTuple

from tidemill.contracts.api.webhooks import DEFAULT_EVENTS


class Verdict(Enum):
    DELIVERED = "delivered"
    RETRY = "retry"
    GIVE_UP = "give up"


def verdict(status: int) -> Verdict:
    """2xx is success, 410 says never again, anything else (redirects too, which are not followed) is tried again."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    return Verdict.GIVE_UP if status == 410 else Verdict.RETRY


def wants(events: Sequence[str] | None, event: str) -> bool:
    return event in (DEFAULT_EVENTS if events is None else events)


class Telling(NamedTuple):
    """The event to tell now, and those to tell later."""

    event: str
    rest: frozenset[str]


def next_telling(noted: AbstractSet[str], wanted: Sequence[str] | None, *, start_told: bool) -> Telling | None:
    """None when nobody wants to hear of what was noted.

    `start` goes first and once, whatever was heard first and how often; outputs and logs of one moment are one event.
    """
    if not noted:
        return None
    rest = frozenset(event for event in noted if event != "start" and wants(wanted, event))
    if wants(wanted, "start") and not start_told:
        return Telling("start", rest)
    if not rest:
        return None
    return Telling("output" if "output" in rest else "logs", frozenset())
