"""What should boot and stop: a pure function of the fleet, what waits, and the rules.

Never plans more than a worker offers, never stops an instance that runs something, and counts what is booting, asked
for or draining, so that one need leads to one boot.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Final, Literal, NamedTuple

import msgspec

from tidemill.scheduler import backlogs
from tidemill.scheduler.backlogs import Kept
from tidemill.scheduler.fleet import Instance, View
from tidemill.scheduler.places import Places

Reason = Literal["idle", "room", "excess"]
NO_ROWS: Final[Mapping[str, int]] = {}
FLOOR, COLD, BACKLOG, SPARE = range(4)  # what an instance is for, the most urgent first; SPARE takes free places only


class QueuePolicy(NamedTuple):
    """`idle_stop_s` None: as the rules say. `yields_to`: the queue whose floor goes before this one's."""

    min_instances: int = 0
    max_instances: int = 4
    idle_stop_s: float | None = None
    yields_to: str | None = None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    idle_stop_s: float
    scale_factor: float
    min_resident_s: float
    default: QueuePolicy
    policies: Mapping[str, QueuePolicy] = {}
    floors: frozenset[str] = frozenset()  # made of the policies: of thousands of deployments few keep instances

    def __post_init__(self) -> None:
        floors = frozenset(queue for queue, policy in self.policies.items() if policy.min_instances)
        msgspec.structs.force_setattr(self, "floors", floors)

    def policy(self, queue: str) -> QueuePolicy:
        return self.policies.get(queue, self.default)

    def idle_stop_of(self, queue: str) -> float:
        own = self.policy(queue).idle_stop_s
        return self.idle_stop_s if own is None else own


class Waiting(NamedTuple):
    """Predictions that the sweep knows to wait: all, those that wait for long, and since when a queue waits cold.

    `kept`: those of queues with every instance taken.
    """

    rows: Mapping[str, int] = NO_ROWS
    late: Mapping[str, int] = NO_ROWS
    cold_since: Mapping[str, float] = {}
    kept: Mapping[str, Kept] = {}


class Boot(NamedTuple):
    queue: str
    worker: str


class Stop(NamedTuple):
    instance: str
    worker: str
    reason: Reason


Action = Boot | Stop


def plan(view: View, waiting: Waiting, rules: Rules, held_off: frozenset[str] = frozenset()) -> list[Action]:
    """`held_off`: queues whose last boots failed, until they may be tried again."""
    return list(_Plan(view, waiting, rules).actions(held_off))


def needs(view: View, waiting: Waiting) -> dict[str, int]:
    """How many predictions wait, by queue, as far as anybody has told; queues with none are left out."""
    queues = {*view.waiting, *waiting.rows, *view.hinted}
    counted = {
        queue: max(view.waiting.get(queue, 0), waiting.rows.get(queue, 0), int(queue in view.hinted))
        for queue in queues
    }
    return {queue: count for queue, count in counted.items() if count > 0}


def cold_since(before: Mapping[str, float], view: View, waiting: Waiting, now: float) -> dict[str, float]:
    """Since when each queue has had need but no instance; who waits longest gets the next free place."""
    served = {each.queue for each in view.instances if each.alive}
    return {queue: before.get(queue, now) for queue in needs(view, waiting) if queue not in served}


class _Plan:
    """The working state of one plan: what is left of the room while actions are added."""

    def __init__(self, view: View, waiting: Waiting, rules: Rules) -> None:
        self._waiting = waiting
        self._rules = rules
        self._needs = needs(view, waiting)
        self._alive: dict[str, list[Instance]] = {}
        for each in view.instances:
            if each.alive:
                self._alive.setdefault(each.queue, []).append(each)
        self._count = Counter({queue: len(instances) for queue, instances in self._alive.items()})
        self._stopping: set[str] = set()
        self._places = Places(view)

    def actions(self, held_off: frozenset[str]) -> Iterator[Action]:
        for rank, queue in self._missing(held_off):
            yield from self._place(queue, rank)
        yield from self._surplus()

    def _missing(self, held_off: frozenset[str]) -> list[tuple[int, str]]:
        """A queue for each instance that is wanted and not there, with what it is for."""
        queues = {*self._needs, *self._rules.floors} - held_off
        ranked = sorted((rank, self._waiting.cold_since.get(q, 0.0), q) for q in queues for rank in self._ranks(q))
        return [(rank, queue) for rank, _, queue in ranked]

    def _ranks(self, queue: str) -> Iterator[int]:
        policy, count = self._rules.policy(queue), self._count[queue]
        wanted = min(max(policy.min_instances, self._wanted(queue)), policy.max_instances)
        for nth in range(count, wanted):
            yield FLOOR if nth < policy.min_instances else COLD if nth == 0 else BACKLOG
        for _ in range(max(count, wanted), min(self._worth(queue), policy.max_instances)):
            yield SPARE

    def _wanted(self, queue: str) -> int:
        """What the queue is to have even where others must go for it."""
        alive = self._alive.get(queue, [])
        if not alive:
            return int(queue in self._needs)
        # Only what waits for long counts: a queue that flows holds many predictions for milliseconds each.
        late = min(self._waiting.late.get(queue, 0), self._needs.get(queue, 0))
        slots = sum(each.slots for each in alive)
        if late <= slots * self._rules.scale_factor:
            return len(alive)
        return _stepped(alive, ceil(late / (slots / len(alive) * self._rules.scale_factor)))

    def _worth(self, queue: str) -> int:
        """What it is to have while places are free."""
        alive, kept = self._alive.get(queue), self._waiting.kept.get(queue)
        return _stepped(alive, backlogs.worth(alive, kept)) if alive and kept else 0

    def _place(self, queue: str, rank: int) -> Iterator[Action]:
        # A boot that waits for a GPU is worth its place to a queue in need; to one that is served it is worth nothing.
        like = self._alive[queue][0] if rank == SPARE else None
        worker = self._places.take(like)
        if worker is not None:
            self._count[queue] += 1
            yield Boot(queue, worker)
        elif rank == SPARE:
            return
        elif self._places.coming > 0:
            self._places.coming -= 1
        else:
            yield from self._make_room(queue)

    def _make_room(self, queue: str) -> Iterator[Stop]:
        idle = [each for each in self._idle() if each.queue != queue and self._makes_room(each)]
        idle = idle or [each for each in self._abandoned() if each.queue != queue and self._makes_room(each)]
        idle = idle or [each for each in self._yielding(queue) if self._makes_room(each)]
        if idle:
            yield self._stop(max(idle, key=lambda each: (each.idle_s, each.id)), "room")

    def _makes_room(self, each: Instance) -> bool:
        return each.age_s >= self._rules.min_resident_s and each.worker in self._places

    def _yielding(self, queue: str) -> Iterator[Instance]:
        """Idle instances that hold a floor only until this queue's own floor needs the place."""
        if self._count[queue] < self._rules.policy(queue).min_instances:
            for name in [name for name in self._alive if self._rules.policy(name).yields_to == queue]:
                yield from (each for each in self._alive[name] if self._unused(each))

    def _surplus(self) -> Iterator[Stop]:
        for each in sorted(self._idle(), key=lambda each: (-each.idle_s, each.id)):
            if self._count[each.queue] > self._rules.policy(each.queue).max_instances:
                yield self._stop(each, "excess")
            elif each.idle_s >= self._rules.idle_stop_of(each.queue) and self._spare(each):
                yield self._stop(each, "idle")

    def _idle(self) -> list[Instance]:
        return [each for alive in self._alive.values() for each in alive if self._spare(each)]

    def _abandoned(self) -> Iterator[Instance]:
        """Those that boot for nobody: who waited was canceled, or his time was over."""
        for queue, alive in self._alive.items():
            if queue not in self._needs and self._count[queue] > self._rules.policy(queue).min_instances:
                yield from (each for each in alive if each.state == "booting" and each.id not in self._stopping)

    def _spare(self, each: Instance) -> bool:
        """It runs nothing, nothing waits for it, and its queue's floor stands without it."""
        return self._unused(each) and self._count[each.queue] > self._rules.policy(each.queue).min_instances

    def _unused(self, each: Instance) -> bool:
        return (
            each.state == "ready"
            and each.running == 0
            and each.queue not in self._needs
            and each.id not in self._stopping
        )

    def _stop(self, each: Instance, reason: Reason) -> Stop:
        self._stopping.add(each.id)
        self._count[each.queue] -= 1
        return Stop(each.id, each.worker, reason)


def _stepped(alive: Sequence[Instance], target: int) -> int:
    """Towards the target: at most twice as many as are ready, then the plan looks again."""
    ready = sum(each.state == "ready" for each in alive)
    booting = len(alive) - ready
    return min(target, len(alive) + max(0, max(1, ready) - booting))
