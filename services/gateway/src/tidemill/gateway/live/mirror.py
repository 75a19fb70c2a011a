"""Which webhooks a listener sees, and when: the order and the throttle of the real ones. Pure.

`start` comes first and once, outputs and logs at least THROTTLE_S apart, nothing after the end, whatever order the bus
brings its events in.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

import msgspec

from tidemill.contracts.api.webhooks import DeliveryEvent

THROTTLE_S: Final = 0.5  # as the dispatcher keeps it
FOLLOWED_LIMIT: Final = 2000  # predictions at once; of the oldest beyond it the end is still shown


class Due(NamedTuple):
    prediction: str
    event: DeliveryEvent


class _Followed(msgspec.Struct):
    events: set[str] = msgspec.field(default_factory=set)
    started: bool = False
    ended: bool = False
    told_at: float = float("-inf")


class Mirror:
    """What one listener has been shown and what is still to show. Times are of any one clock, in seconds."""

    def __init__(self) -> None:
        self._followed: OrderedDict[str, _Followed] = OrderedDict()

    def note(self, prediction: str, event: str) -> None:
        followed = self._followed.get(prediction)
        if followed is None:
            followed = self._followed[prediction] = _Followed()
            if len(self._followed) > FOLLOWED_LIMIT:
                self._followed.popitem(last=False)
        if not followed.ended:
            followed.events.add(event)

    def missed(self, prediction: str) -> None:
        """Its end came while the listener was away, who has heard the rest or does without."""
        self.note(prediction, "completed")
        self._followed[prediction].started = True

    def follows(self, prediction: str) -> bool:
        return prediction in self._followed

    def take(self, now: float) -> list[Due]:
        """What is to be shown now, in order."""
        return [due for prediction, followed in self._followed.items() for due in _take(prediction, followed, now)]

    def wait_s(self, now: float) -> float | None:
        """How long until there is something; None when nothing is noted."""
        waits = [followed.told_at + THROTTLE_S - now for followed in self._followed.values() if followed.events]
        return max(0.0, min(waits)) if waits else None


def _take(prediction: str, followed: _Followed, now: float) -> list[Due]:
    events = followed.events
    if not events:
        return []
    due = [] if followed.started else [Due(prediction, "start")]
    followed.started = True
    events.discard("start")
    if "completed" in events:
        followed.ended = True
        events.clear()
        return [*due, Due(prediction, "completed")]
    if events and now >= followed.told_at + THROTTLE_S:
        followed.told_at = now
        due.append(Due(prediction, "output" if "output" in events else "logs"))
        events.clear()
    return due
