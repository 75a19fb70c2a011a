"""Which webhook events a listener is shown, and when: order and throttle are those of real webhooks. Pure.

`start` comes first and once, `output` and `logs` at least THROTTLE_S apart, nothing after the end, in whatever order
the events arrive from the bus.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

import msgspec

from tidemill.contracts.api.webhooks import DeliveryEvent

THROTTLE_S: Final = 0.5  # the same as the dispatcher's
FOLLOWED_LIMIT: Final = 2000  # predictions at a time; of older ones only the end is shown


class DueEvent(NamedTuple):
    prediction: str
    event: DeliveryEvent


class _FollowedPrediction(msgspec.Struct):
    events: set[str] = msgspec.field(default_factory=set)
    started: bool = False
    ended: bool = False
    shown_at: float = float("-inf")


class Mirror:
    """What one listener has been shown, and what is due. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._followed: OrderedDict[str, _FollowedPrediction] = OrderedDict()

    def note(self, prediction: str, event: str) -> None:
        followed = self._followed.get(prediction)
        if followed is None:
            followed = self._followed[prediction] = _FollowedPrediction()
            if len(self._followed) > FOLLOWED_LIMIT:
                self._followed.popitem(last=False)
        if not followed.ended:
            followed.events.add(event)

    def missed(self, prediction: str) -> None:
        """Note an end that happened while the listener was disconnected; its `start` is not shown again."""
        self.note(prediction, "completed")
        self._followed[prediction].started = True

    def follows(self, prediction: str) -> bool:
        return prediction in self._followed

    def take(self, now: float) -> list[DueEvent]:
        """Return the events that are due now, in order."""
        return [due for prediction, followed in self._followed.items() for due in _take(prediction, followed, now)]

    def wait_s(self, now: float) -> float | None:
        """Return the seconds until an event is due; None if no event waits."""
        waits = [followed.shown_at + THROTTLE_S - now for followed in self._followed.values() if followed.events]
        return max(0.0, min(waits)) if waits else None


def _take(prediction: str, followed: _FollowedPrediction, now: float) -> list[DueEvent]:
    events = followed.events
    if not events:
        return []
    due = [] if followed.started else [DueEvent(prediction, "start")]
    followed.started = True
    events.discard("start")
    if "completed" in events:
        followed.ended = True
        events.clear()
        return [*due, DueEvent(prediction, "completed")]
    if events and now >= followed.shown_at + THROTTLE_S:
        followed.shown_at = now
        due.append(DueEvent(prediction, "output" if "output" in events else "logs"))
        events.clear()
    return due
