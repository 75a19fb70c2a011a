"""Which instances to boot and to stop: a pure function of the fleet, the waiting predictions, and the rules.

Never plans more than a worker's capacity, never stops a busy instance, and counts instances that are booting, commanded
or draining, so that one need leads to one boot.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Final, Literal, NamedTuple

import msgspec

from tidemill.scheduler.backlogs import Backlog, desired_instances
from tidemill.scheduler.fleet import FleetView, Instance
from tidemill.scheduler.free_capacity import FreeCapacity

StopReason = Literal["idle", "room", "excess"]
NO_COUNTS: Final[Mapping[str, int]] = {}
FLOOR, COLD, BACKLOG, SPARE = range(
    4
)  # why an instance is wanted, the most urgent first; SPARE uses free capacity only


class QueuePolicy(NamedTuple):
    """Bounds of one queue. `idle_stop_s` None: the default. `yields_to`: the queue whose minimum has precedence."""

    min_instances: int = 0
    max_instances: int = 4
    idle_stop_s: float | None = None
    yields_to: str | None = None


class PlacementRules(msgspec.Struct, frozen=True, kw_only=True):
    idle_stop_s: float
    scale_factor: float
    min_resident_s: float
    default: QueuePolicy
    policies: Mapping[str, QueuePolicy] = {}
    floors: frozenset[str] = (
        frozenset()
    )  # queues with a minimum, derived from the policies: few of thousands of deployments have one

    def __post_init__(self) -> None:
        floors = frozenset(queue for queue, policy in self.policies.items() if policy.min_instances)
        msgspec.structs.force_setattr(self, "floors", floors)

    def policy(self, queue: str) -> QueuePolicy:
        return self.policies.get(queue, self.default)

    def idle_stop_of(self, queue: str) -> float:
        own = self.policy(queue).idle_stop_s
        return self.idle_stop_s if own is None else own


class WaitingCounts(NamedTuple):
    """Waiting predictions by queue as of the last sweep: all, and the late ones.

    `cold_since`: since when a queue has waited without an instance. `backlogs`: of queues whose instances are all busy.
    """

    rows: Mapping[str, int] = NO_COUNTS
    late: Mapping[str, int] = NO_COUNTS
    cold_since: Mapping[str, float] = {}
    backlogs: Mapping[str, Backlog] = {}


class PlannedBoot(NamedTuple):
    queue: str
    worker: str


class PlannedStop(NamedTuple):
    instance: str
    worker: str
    reason: StopReason


Action = PlannedBoot | PlannedStop


def plan(
    view: FleetView, waiting: WaitingCounts, rules: PlacementRules, backing_off: frozenset[str] = frozenset()
) -> list[Action]:
    """Return the boots and stops to command now. `backing_off`: queues whose last boot failed and must not boot yet."""
    return list(_PlanBuilder(view, waiting, rules).actions(backing_off))


def needs(view: FleetView, waiting: WaitingCounts) -> dict[str, int]:
    """Return how many predictions wait by queue: the maximum of what workers, sweep and gateways report,
    without zeros.
    """
    queues = {*view.waiting, *waiting.rows, *view.demanded}
    counted = {
        queue: max(view.waiting.get(queue, 0), waiting.rows.get(queue, 0), int(queue in view.demanded))
        for queue in queues
    }
    return {queue: count for queue, count in counted.items() if count > 0}


def cold_since(before: Mapping[str, float], view: FleetView, waiting: WaitingCounts, now: float) -> dict[str, float]:
    """Return since when each queue has had need but no instance; the longest waiting gets the next free capacity."""
    served = {each.queue for each in view.instances if each.alive}
    return {queue: before.get(queue, now) for queue in needs(view, waiting) if queue not in served}


class _PlanBuilder:
    """Builds one plan: holds the remaining capacity while actions are added."""

    def __init__(self, view: FleetView, waiting: WaitingCounts, rules: PlacementRules) -> None:
        self._waiting = waiting
        self._rules = rules
        self._needs = needs(view, waiting)
        self._alive: dict[str, list[Instance]] = {}
        for each in view.instances:
            if each.alive:
                self._alive.setdefault(each.queue, []).append(each)
        self._count = Counter({queue: len(instances) for queue, instances in self._alive.items()})
        self._stopping: set[str] = set()
        self._capacity = FreeCapacity(view)

    def actions(self, backing_off: frozenset[str]) -> Iterator[Action]:
        for rank, queue in self._missing(backing_off):
            yield from self._place_instance(queue, rank)
        yield from self._stop_surplus()

    def _missing(self, backing_off: frozenset[str]) -> list[tuple[int, str]]:
        """Return one (rank, queue) for each missing instance, the most urgent first."""
        queues = {*self._needs, *self._rules.floors} - backing_off
        ranked = sorted((rank, self._waiting.cold_since.get(q, 0.0), q) for q in queues for rank in self._ranks(q))
        return [(rank, queue) for rank, _, queue in ranked]

    def _ranks(self, queue: str) -> Iterator[int]:
        policy, count = self._rules.policy(queue), self._count[queue]
        wanted = min(max(policy.min_instances, self._wanted(queue)), policy.max_instances)
        for nth in range(count, wanted):
            yield FLOOR if nth < policy.min_instances else COLD if nth == 0 else BACKLOG
        for _ in range(max(count, wanted), min(self._worthwhile(queue), policy.max_instances)):
            yield SPARE

    def _wanted(self, queue: str) -> int:
        """Return how many instances the queue should have, even if other queues' idle instances must stop for it."""
        alive = self._alive.get(queue, [])
        if not alive:
            return int(queue in self._needs)
        # Only late predictions count: a queue that keeps up holds many predictions for milliseconds each.
        late = min(self._waiting.late.get(queue, 0), self._needs.get(queue, 0))
        slots = sum(each.slots for each in alive)
        if late <= slots * self._rules.scale_factor:
            return len(alive)
        return _limit_growth(alive, ceil(late / (slots / len(alive) * self._rules.scale_factor)))

    def _worthwhile(self, queue: str) -> int:
        """Return how many instances the queue should have if free capacity allows it."""
        alive, backlog = self._alive.get(queue), self._waiting.backlogs.get(queue)
        return _limit_growth(alive, desired_instances(alive, backlog)) if alive and backlog else 0

    def _place_instance(self, queue: str, rank: int) -> Iterator[Action]:
        # A queue without an instance takes capacity even if its boot must wait for a GPU; a spare instance does not.
        like = self._alive[queue][0] if rank == SPARE else None
        worker = self._capacity.take(like)
        if worker is not None:
            self._count[queue] += 1
            yield PlannedBoot(queue, worker)
        elif rank == SPARE:
            return
        elif self._capacity.draining > 0:
            self._capacity.draining -= 1
        else:
            yield from self._make_room(queue)

    def _make_room(self, queue: str) -> Iterator[PlannedStop]:
        idle = [each for each in self._idle() if each.queue != queue and self._may_make_room(each)]
        idle = idle or [each for each in self._booting_unneeded() if each.queue != queue and self._may_make_room(each)]
        idle = idle or [each for each in self._yielding_instances(queue) if self._may_make_room(each)]
        if idle:
            yield self._stop(max(idle, key=lambda each: (each.idle_s, each.id)), "room")

    def _may_make_room(self, each: Instance) -> bool:
        return each.age_s >= self._rules.min_resident_s and each.worker in self._capacity

    def _yielding_instances(self, queue: str) -> Iterator[Instance]:
        """Yield unused instances of queues that give up their minimum when this queue's own minimum needs
        the capacity.
        """
        if self._count[queue] < self._rules.policy(queue).min_instances:
            for name in [name for name in self._alive if self._rules.policy(name).yields_to == queue]:
                yield from (each for each in self._alive[name] if self._is_unused(each))

    def _stop_surplus(self) -> Iterator[PlannedStop]:
        for each in sorted(self._idle(), key=lambda each: (-each.idle_s, each.id)):
            if self._count[each.queue] > self._rules.policy(each.queue).max_instances:
                yield self._stop(each, "excess")
            elif each.idle_s >= self._rules.idle_stop_of(each.queue) and self._is_surplus(each):
                yield self._stop(each, "idle")

    def _idle(self) -> list[Instance]:
        return [each for alive in self._alive.values() for each in alive if self._is_surplus(each)]

    def _booting_unneeded(self) -> Iterator[Instance]:
        """Yield instances that boot although nothing waits for them any more."""
        for queue, alive in self._alive.items():
            if queue not in self._needs and self._count[queue] > self._rules.policy(queue).min_instances:
                yield from (each for each in alive if each.state == "booting" and each.id not in self._stopping)

    def _is_surplus(self, each: Instance) -> bool:
        """Return whether it is unused and its queue's minimum holds without it."""
        return self._is_unused(each) and self._count[each.queue] > self._rules.policy(each.queue).min_instances

    def _is_unused(self, each: Instance) -> bool:
        return (
            each.state == "ready"
            and each.running == 0
            and each.queue not in self._needs
            and each.id not in self._stopping
        )

    def _stop(self, each: Instance, reason: StopReason) -> PlannedStop:
        self._stopping.add(each.id)
        self._count[each.queue] -= 1
        return PlannedStop(each.id, each.worker, reason)


def _limit_growth(alive: Sequence[Instance], target: int) -> int:
    """Return the number of instances for the next step towards the target: at most twice the ready ones."""
    ready = sum(each.state == "ready" for each in alive)
    booting = len(alive) - ready
    return min(target, len(alive) + max(0, max(1, ready) - booting))
