"""How many instances a backlog is worth where places are free: as many as make the wait no longer than a boot. Pure.

Times are seconds. A prediction is kept waiting when all instances of its queue are taken, whatever the reason why it
was not begun before they were: it may be the boot that it waited for, or a claim that is still to be written.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Final, NamedTuple

from tidemill.scheduler.fleet import Instance, View

# From a run's begin until its row says so, with room for a slow commit: until then the row looks as if it waited.
CLAIMED_WITHIN_S: Final = 0.5
BOOT_LEAST_S: Final = 1.0  # what noticing and commanding take besides; nobody gains by a second instance for less
BOOT_UNKNOWN_S: Final = 10.0  # until a worker has told how long a boot of the model takes


class Kept(NamedTuple):
    """Of one queue: how many are kept waiting, how many of them for long, and for how long the first of them."""

    waiting: int
    late: int
    longest_s: float


class Pace(NamedTuple):
    """What the instances of a queue tell. `run_s`: the mean of ended runs; `busy_s`: the age of the longest present."""

    slots: float
    running: int
    run_s: float
    busy_s: float
    boot_s: float


def full_since(before: Mapping[str, float], view: View, now: float) -> dict[str, float]:
    """Since when each queue has had an instance ready, and none with a free slot."""
    free: dict[str, bool] = {}
    for each in view.instances:
        if each.state == "ready":
            free[each.queue] = free.get(each.queue, False) or each.running < each.slots
    return {queue: before.get(queue, now) for queue, some in free.items() if not some}


def kept_waiting(seen: Mapping[str, Kept], seen_at: float, full: Mapping[str, float]) -> dict[str, Kept]:
    """Those of the rows seen to wait at `seen_at` whose queue had been full before: none of them runs meanwhile."""
    return {
        queue: each._replace(longest_s=min(each.longest_s, seen_at - full[queue]))
        for queue, each in seen.items()
        if queue in full and seen_at - full[queue] >= CLAIMED_WITHIN_S
    }


def pace(alive: Sequence[Instance]) -> Pace:
    runs = [each.run_s for each in alive if each.run_s > 0]
    boots = [each.boot_s for each in alive if each.boot_s > 0]
    return Pace(
        slots=sum(each.slots for each in alive) / len(alive),
        running=sum(min(each.running, each.slots) for each in alive),
        run_s=sum(runs) / len(runs) if runs else 0.0,
        busy_s=max(each.busy_s for each in alive),
        boot_s=max(BOOT_LEAST_S, min(boots, default=BOOT_UNKNOWN_S)),
    )


def worth(alive: Sequence[Instance], kept: Kept) -> int:
    """How many instances the queue should have. Never less than it has.

    A model whose runs are known to take longer than a boot gets one for whoever waits. Where they are short, or nobody
    knows, only those count that have waited for long already: a burst of short ones is over before a boot is.
    """
    known = pace(alive)
    count = kept.waiting if known.run_s >= known.boot_s else kept.late
    if count == 0:
        return len(alive)
    run_s = max(known.run_s, known.busy_s)
    # Ahead of the last one are the others, and of each run under way a half.
    ahead_s = (count - 1 + known.running / 2) * run_s / known.slots
    slots = ceil((count + known.running) / known.slots)  # more would have nothing to do
    worth_it = min(ceil(ahead_s / known.boot_s), slots)
    if kept.longest_s >= known.boot_s:  # whatever the runs took until now
        worth_it = max(worth_it, len(alive) + 1)
    return max(worth_it, len(alive))
