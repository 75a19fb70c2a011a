"""What an answer means, and which events a prediction's owner wants. Pure."""

from collections.abc import Sequence
from enum import Enum

# Without a filter Replicate sends new outputs and the end.
DEFAULT_EVENTS = ("output", "completed")


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
