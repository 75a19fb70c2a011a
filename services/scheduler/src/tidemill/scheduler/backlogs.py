"""How many instances a backlog justifies while capacity is free: enough that nobody waits longer than a boot. Pure.

Times are seconds. The backlog of a queue is what waits while all its instances are busy. What waits for another reason
(a boot, or a claim that is not written yet) is not counted.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Final, NamedTuple

from tidemill.scheduler.fleet import FleetView, Instance

# From the start of a run until its row shows the claim, with a margin for a slow commit: until then the row looks as if
# it waited.
CLAIM_DELAY_LIMIT_S: Final = 0.5
MIN_BOOT_S: Final = (
    1.0  # noticing the need and sending the command take this long too; below it a second instance gains nothing
)
DEFAULT_BOOT_S: Final = 10.0  # until a worker has reported how long the model's boot takes


class Backlog(NamedTuple):
    """Predictions of one queue that wait for a busy instance: all, the late ones, and how long the first has waited."""

    waiting: int
    late: int
    longest_s: float


class Throughput(NamedTuple):
    """What the instances of a queue report: `slots` per instance, `run_s` mean of ended runs, `busy_s` age of the
    longest present run.
    """

    slots: float
    running: int
    run_s: float
    busy_s: float
    boot_s: float


def saturated_since(before: Mapping[str, float], view: FleetView, now: float) -> dict[str, float]:
    """Return since when each queue has had ready instances, none of them with a free slot."""
    free: dict[str, bool] = {}
    for each in view.instances:
        if each.state == "ready":
            free[each.queue] = free.get(each.queue, False) or each.running < each.slots
    return {queue: before.get(queue, now) for queue, some in free.items() if not some}


def confirmed_backlogs(
    seen: Mapping[str, Backlog], seen_at: float, saturated: Mapping[str, float]
) -> dict[str, Backlog]:
    """Return the backlogs seen at `seen_at` of queues that were saturated before that, so that none of it has a run
    yet.
    """
    return {
        queue: each._replace(longest_s=min(each.longest_s, seen_at - saturated[queue]))
        for queue, each in seen.items()
        if queue in saturated and seen_at - saturated[queue] >= CLAIM_DELAY_LIMIT_S
    }


def throughput(alive: Sequence[Instance]) -> Throughput:
    runs = [each.run_s for each in alive if each.run_s > 0]
    boots = [each.boot_s for each in alive if each.boot_s > 0]
    return Throughput(
        slots=sum(each.slots for each in alive) / len(alive),
        running=sum(min(each.running, each.slots) for each in alive),
        run_s=sum(runs) / len(runs) if runs else 0.0,
        busy_s=max(each.busy_s for each in alive),
        boot_s=max(MIN_BOOT_S, min(boots, default=DEFAULT_BOOT_S)),
    )


def desired_instances(alive: Sequence[Instance], backlog: Backlog) -> int:
    """Return how many instances the queue should have; never fewer than it has.

    If runs take longer than a boot, every waiting prediction counts. If runs are short or their duration is unknown,
    only late ones count: a burst of short runs is over before a boot.
    """
    known = throughput(alive)
    count = backlog.waiting if known.run_s >= known.boot_s else backlog.late
    if count == 0:
        return len(alive)
    run_s = max(known.run_s, known.busy_s)
    # Before the last one come the others, and half of each run in progress.
    ahead_s = (count - 1 + known.running / 2) * run_s / known.slots
    slots = ceil((count + known.running) / known.slots)  # more instances would be idle
    wanted = min(ceil(ahead_s / known.boot_s), slots)
    if backlog.longest_s >= known.boot_s:  # whatever the runs took so far
        wanted = max(wanted, len(alive) + 1)
    return max(wanted, len(alive))
