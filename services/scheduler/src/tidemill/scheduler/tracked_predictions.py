"""The open predictions in memory: when to check each again, and what they say about the queues.

Pure; filled from rows, times as in `sweep_decisions`. A prediction that is missing here is terminal, or the scan finds
it again.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from heapq import nsmallest
from typing import Final

import msgspec

from tidemill.scheduler.backlogs import CLAIM_DELAY_LIMIT_S, Backlog
from tidemill.scheduler.placement import WaitingCounts
from tidemill.scheduler.sweep_decisions import OpenPrediction, SentHints

FIRST_CHECK_S: Final = 1.0
CHECK_LIMIT_S: Final = 5.0  # most failures of a long run show in its worker's lease, not in its row


class TrackedPrediction(msgspec.Struct):
    row: OpenPrediction
    check_at: float
    wait_s: float = FIRST_CHECK_S
    hints: SentHints = SentHints()
    late: bool = False  # it was late when last read
    read_at: float = 0.0


class TrackedPredictions:
    def __init__(self, *, late_after_s: float) -> None:
        self._late_after_s = late_after_s
        self._entries: dict[str, TrackedPrediction] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def update(self, rows: Iterable[OpenPrediction], now: float) -> list[OpenPrediction]:
        """Store rows as read at `now`. Return those that are not older than what is known."""
        return [row for row in rows if self._update(row, now)]

    def _update(self, row: OpenPrediction, now: float) -> bool:
        entry = self._entries.get(row.id)
        if entry is None:
            entry = self._entries[row.id] = TrackedPrediction(row, now)
        elif row.attempt < entry.row.attempt:
            return False
        elif row.attempt > entry.row.attempt:
            entry.hints = SentHints()
        entry.row, entry.read_at = row, now
        entry.late = row.waits and now - row.accepted_at >= self._late_after_s
        self._schedule_check(entry, now)
        return True

    def _schedule_check(self, entry: TrackedPrediction, now: float) -> None:
        entry.check_at = now + entry.wait_s
        entry.wait_s = min(entry.wait_s * 2, CHECK_LIMIT_S)
        if entry.row.deadline is not None and entry.row.deadline > now:
            entry.check_at = min(entry.check_at, entry.row.deadline)

    def record_hint(self, prediction: str, now: float) -> None:
        entry = self._entries.get(prediction)
        if entry is not None:
            entry.hints = SentHints(entry.hints.count + 1, now)

    def sent_hints(self, prediction: str) -> SentHints:
        return self._entries[prediction].hints

    def drop(self, predictions: Iterable[str]) -> None:
        """Remove predictions that are terminal."""
        for prediction in predictions:
            self._entries.pop(prediction, None)

    def due(self, now: float, limit: int) -> list[str]:
        """Return ids of predictions to check again, the most overdue first."""
        due = [(entry.check_at, name) for name, entry in self._entries.items() if entry.check_at <= now]
        return [name for _, name in nsmallest(limit, due)]

    def held_by_lost_workers(self, live_workers: Collection[str]) -> list[str]:
        """Return ids of predictions whose worker has no live lease."""
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

    def waiting(self) -> WaitingCounts:
        entries = [entry for entry in self._entries.values() if entry.row.waits]
        return WaitingCounts(
            rows=Counter(entry.row.queue for entry in entries),
            late=Counter(entry.row.queue for entry in entries if entry.late),
        )

    def longest_waiting(self, queues: Collection[str], each: int, limit: int) -> list[str]:
        """Return ids of the longest waiting predictions: `each` per queue, at most `limit` in total."""
        found = self._waiting_by_queue(queues)
        few = (nsmallest(each, entries, key=_accepted) for entries in found.values())
        return [entry.row.id for entries in few for entry in entries][:limit]

    def backlogs(self, queues: Collection[str], now: float) -> dict[str, Backlog]:
        """Return the backlog of each queue in which a prediction that was read at `now` still waits.

        Predictions accepted later wait too, read or not: the queue is first in, first out.
        """
        result = {}
        for queue, entries in self._waiting_by_queue(queues).items():
            found = [entry.row.accepted_at for entry in entries if entry.read_at == now]
            ages = [now - entry.row.accepted_at for entry in entries if found and entry.row.accepted_at >= min(found)]
            settled = [age for age in ages if age >= CLAIM_DELAY_LIMIT_S]
            if settled:
                late = sum(age >= self._late_after_s for age in settled)
                result[queue] = Backlog(len(settled), late, max(settled))
        return result

    def _waiting_by_queue(self, queues: Collection[str]) -> dict[str, list[TrackedPrediction]]:
        found: dict[str, list[TrackedPrediction]] = {}
        for entry in self._entries.values():
            if entry.row.waits and entry.row.queue in queues:
                found.setdefault(entry.row.queue, []).append(entry)
        return found

    def waiting_lists(self) -> dict[str, list[str]]:
        """Return the ids of waiting predictions by queue, in the order of acceptance."""
        found: dict[str, list[str]] = {}
        waiting = [entry.row for entry in self._entries.values() if entry.row.waits]
        for row in sorted(waiting, key=lambda row: (row.accepted_at, row.id)):
            found.setdefault(row.queue, []).append(row.id)
        return found

    def rows(self) -> list[OpenPrediction]:
        """Return all open predictions, each as it was last read."""
        return [entry.row for entry in self._entries.values()]

    def oldest_accepted_at(self) -> float | None:
        return min((entry.row.accepted_at for entry in self._entries.values()), default=None)


def _accepted(entry: TrackedPrediction) -> float:
    return entry.row.accepted_at
