"""The open predictions in memory: which to look at again and when, and what they say about the queues.

Pure; filled from rows, times as in `sweep`. A row that is gone from here is terminal, or will be found again.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from heapq import nsmallest
from typing import Final

import msgspec

from tidemill.scheduler.backlogs import CLAIMED_WITHIN_S, Kept
from tidemill.scheduler.placement import Waiting
from tidemill.scheduler.sweep import Hints, Row

LOOK_FIRST_S: Final = 1.0
LOOK_LIMIT_S: Final = 5.0  # most of what can go wrong with a long run is told by its worker's lease, not by its row


class Entry(msgspec.Struct):
    row: Row
    look_at: float
    wait_s: float = LOOK_FIRST_S
    hints: Hints = Hints()
    late: bool = False  # it was seen waiting for long
    seen_at: float = 0.0


class Watch:
    def __init__(self, *, late_after_s: float) -> None:
        self._late_after_s = late_after_s
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def saw(self, rows: Iterable[Row], now: float) -> list[Row]:
        """Remembers open rows as they are now, and answers those that are not older than what is known."""
        return [row for row in rows if self._saw(row, now)]

    def _saw(self, row: Row, now: float) -> bool:
        entry = self._entries.get(row.id)
        if entry is None:
            entry = self._entries[row.id] = Entry(row, now)
        elif row.attempt < entry.row.attempt:
            return False
        elif row.attempt > entry.row.attempt:
            entry.hints = Hints()
        entry.row, entry.seen_at = row, now
        entry.late = row.waits and now - row.accepted_at >= self._late_after_s
        self._look_later(entry, now)
        return True

    def _look_later(self, entry: Entry, now: float) -> None:
        entry.look_at = now + entry.wait_s
        entry.wait_s = min(entry.wait_s * 2, LOOK_LIMIT_S)
        if entry.row.deadline is not None and entry.row.deadline > now:
            entry.look_at = min(entry.look_at, entry.row.deadline)

    def hinted(self, prediction: str, now: float) -> None:
        entry = self._entries.get(prediction)
        if entry is not None:
            entry.hints = Hints(entry.hints.count + 1, now)

    def hints(self, prediction: str) -> Hints:
        return self._entries[prediction].hints

    def drop(self, predictions: Iterable[str]) -> None:
        """They are terminal."""
        for prediction in predictions:
            self._entries.pop(prediction, None)

    def due(self, now: float, limit: int) -> list[str]:
        """Those to look at again, the most overdue first."""
        due = [(entry.look_at, name) for name, entry in self._entries.items() if entry.look_at <= now]
        return [name for _, name in nsmallest(limit, due)]

    def held_by_others(self, live_workers: Collection[str]) -> list[str]:
        """Those whose worker has no lease any more."""
        return [
            name
            for name, entry in self._entries.items()
            if entry.row.worker is not None and entry.row.worker not in live_workers
        ]

    def waiting_in(self, queues: Collection[str]) -> list[str]:
        return [name for name, entry in self._entries.items() if entry.row.waits and entry.row.queue in queues]

    def open_in(self, queues: Collection[str]) -> list[str]:
        return [name for name, entry in self._entries.items() if entry.row.queue in queues] if queues else []

    def unclaimed(self) -> list[str]:
        return [name for name, entry in self._entries.items() if entry.row.waits]

    def waiting(self) -> Waiting:
        entries = [entry for entry in self._entries.values() if entry.row.waits]
        return Waiting(
            rows=Counter(entry.row.queue for entry in entries),
            late=Counter(entry.row.queue for entry in entries if entry.late),
        )

    def longest_waiting(self, queues: Collection[str], each: int, limit: int) -> list[str]:
        """Of each of the queues a few, those that have waited for longest; `limit` in all."""
        found = self._waiting_by_queue(queues)
        few = (nsmallest(each, entries, key=_accepted) for entries in found.values())
        return [entry.row.id for entries in few for entry in entries][:limit]

    def kept(self, queues: Collection[str], now: float) -> dict[str, Kept]:
        """What waits in each of the queues, where one was found to by the looks of `now`.

        Whoever came later waits too, looked at or not.
        """
        kept = {}
        for queue, entries in self._waiting_by_queue(queues).items():
            found = [entry.row.accepted_at for entry in entries if entry.seen_at == now]
            ages = [now - entry.row.accepted_at for entry in entries if found and entry.row.accepted_at >= min(found)]
            settled = [age for age in ages if age >= CLAIMED_WITHIN_S]
            if settled:
                late = sum(age >= self._late_after_s for age in settled)
                kept[queue] = Kept(len(settled), late, max(settled))
        return kept

    def _waiting_by_queue(self, queues: Collection[str]) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        for entry in self._entries.values():
            if entry.row.waits and entry.row.queue in queues:
                found.setdefault(entry.row.queue, []).append(entry)
        return found

    def lines(self) -> dict[str, list[str]]:
        """Those that wait, by queue, in the order of acceptance."""
        found: dict[str, list[str]] = {}
        waiting = [entry.row for entry in self._entries.values() if entry.row.waits]
        for row in sorted(waiting, key=lambda row: (row.accepted_at, row.id)):
            found.setdefault(row.queue, []).append(row.id)
        return found

    def rows(self) -> list[Row]:
        """All open predictions, each as of its last look."""
        return [entry.row for entry in self._entries.values()]

    def oldest_accepted_at(self) -> float | None:
        return min((entry.row.accepted_at for entry in self._entries.values()), default=None)


def _accepted(entry: Entry) -> float:
    return entry.row.accepted_at
