"""The fleet as its heartbeats report it, with commands that no heartbeat shows yet. Never does I/O.

All times are seconds of one monotonic clock, passed in. A heartbeat replaces what was known of its worker.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from tidemill.contracts.events import Heartbeat, InstanceState

PENDING_LIMIT_S: Final = 5.0  # an accepted command that no heartbeat shows for this long was lost with its worker
FORGET_AFTER_S: Final = 60.0  # the lease of a silent worker has expired long before
DEMAND_LIFE_S: Final = 5.0  # after this the sweep decides about a queue with unserved demand


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """An instance. `state` is the heartbeat's, but draining as soon as a stop was commanded. Numbers are the
    heartbeat's.
    """

    id: str
    queue: str
    worker: str
    state: str
    slots: int = 1
    running: int = 0
    idle_s: float = 0.0
    age_s: float = 0.0
    boot_s: float = 0.0
    run_s: float = 0.0
    busy_s: float = 0.0
    gpus: int = 0
    gpu_bytes: int = 0

    @property
    def alive(self) -> bool:
        """It serves its queue, or will when it has booted."""
        return self.state in {"booting", "ready"}

    @property
    def occupies(self) -> bool:
        """It takes capacity of its worker."""
        return self.state in {"booting", "ready", "draining"}


class Worker(msgspec.Struct, kw_only=True):
    """A worker as of its last heartbeat. After it refused a boot it gets no other before its next heartbeat."""

    id: str
    capacity: int
    draining: bool
    seen_at: float
    instances: dict[str, InstanceState]
    waiting: dict[str, int]
    gpu_free_bytes: tuple[int, ...] = ()
    refused_at: float = float("-inf")


class PendingCommand(NamedTuple):
    """A command that no heartbeat shows yet. `queue` is set for a boot. `accepted_at` is None until the worker
    accepted.
    """

    worker: str
    queue: str | None
    accepted_at: float | None = None


class FleetView(NamedTuple):
    """The input of a plan: live workers, and the instances that they have or were told to boot."""

    workers: Mapping[str, Worker]
    instances: tuple[Instance, ...]
    waiting: Mapping[str, int]  # by queue, as the workers see it
    demanded: frozenset[str]  # queues with a prediction that found no warm instance

    def ready_queues(self) -> list[str]:
        """Return the queues with a ready instance, sorted."""
        return sorted({each.queue for each in self.instances if each.state == "ready"})

    def booting_queues(self) -> list[str]:
        """Return the queues with a booting instance and no ready one, sorted."""
        coming = {each.queue for each in self.instances if each.state == "booting"}
        return sorted(coming.difference(self.ready_queues()))


class BootFailure(NamedTuple):
    """A failed boot; reported once."""

    instance: str
    queue: str
    error: str
    took_s: float = 0.0


class Fleet:
    def __init__(self, *, silent_after_s: float) -> None:
        self._silent_after_s = silent_after_s
        self._workers: dict[str, Worker] = {}
        self._pending: dict[str, PendingCommand] = {}
        self._demands: dict[str, float] = {}
        self._failed: dict[str, float] = {}  # instances whose failure was reported, with the time they were last seen
        self._quiet_since: dict[str, float] = {}

    def apply_heartbeat(self, beat: Heartbeat, now: float) -> list[BootFailure]:
        """Apply a heartbeat. Return the failures that were not reported before."""
        known = self._workers.get(beat.worker)
        self._workers[beat.worker] = Worker(
            id=beat.worker,
            capacity=beat.capacity.instances,
            draining=beat.draining,
            seen_at=now,
            instances={each.id: each for each in beat.instances},
            waiting={each.queue: each.waiting for each in beat.queues},
            gpu_free_bytes=tuple(beat.gpu_free_bytes),
            refused_at=known.refused_at if known else float("-inf"),
        )
        self._confirm_pending(beat)
        for each in beat.instances:
            if each.state == "ready":
                self._demands.pop(each.queue, None)
        return self._new_failures(beat.instances, now)

    def _confirm_pending(self, beat: Heartbeat) -> None:
        """Drop commands that took effect: a boot when its instance shows, a stop when it is draining or gone."""
        shown = {each.id: each.state for each in beat.instances}
        mine = {name: each for name, each in self._pending.items() if each.worker == beat.worker}
        for name, pending in mine.items():
            has_effect = name in shown if pending.queue is not None else shown.get(name, "draining") == "draining"
            if has_effect:
                del self._pending[name]

    def _new_failures(self, states: Iterable[InstanceState], now: float) -> list[BootFailure]:
        failed = [each for each in states if each.state == "failed"]
        news = [BootFailure(each.id, each.queue, each.error or "no reason given", each.age_s) for each in failed]
        fresh = [failure for failure in news if failure.instance not in self._failed]
        self._failed.update({each.id: now for each in failed})
        return fresh

    def record_demand(self, queue: str, now: float) -> bool:
        """Record demand for a queue. Return whether it is new: no instance is up or booting, and no demand was
        recorded.
        """
        known = any(each.queue == queue and each.alive for each in self._instances(self._live(now)))
        is_new = queue not in self._demands and not known
        self._demands[queue] = now
        return is_new

    def add_pending_boot(self, instance: str, queue: str, worker: str) -> None:
        self._pending[instance] = PendingCommand(worker, queue)

    def add_pending_stop(self, instance: str, worker: str) -> None:
        self._pending[instance] = PendingCommand(worker, None)

    def command_accepted(self, instance: str, now: float) -> None:
        pending = self._pending.get(instance)
        if pending is not None:
            self._pending[instance] = pending._replace(accepted_at=now)

    def command_refused(self, instance: str, now: float) -> None:
        """Drop a refused or unanswered command. The worker gets no boot before its next heartbeat."""
        pending = self._pending.pop(instance, None)
        if pending is not None and pending.worker in self._workers:
            self._workers[pending.worker].refused_at = now

    def expire(self, now: float) -> None:
        """Forget workers, failures, demands and commands that are too old."""
        self._demands = {queue: at for queue, at in self._demands.items() if now - at < DEMAND_LIFE_S}
        self._failed = {each: at for each, at in self._failed.items() if now - at < FORGET_AFTER_S}
        self._workers = {name: each for name, each in self._workers.items() if now - each.seen_at < FORGET_AFTER_S}
        self._pending = {
            name: each
            for name, each in self._pending.items()
            if each.accepted_at is None or now - each.accepted_at < PENDING_LIMIT_S
        }

    def view(self, now: float) -> FleetView:
        live = self._live(now)
        waiting: dict[str, int] = {}
        for worker in live.values():
            for (
                queue,
                count,
            ) in worker.waiting.items():  # each worker counts the same stream, so the counts must not be added
                waiting[queue] = max(count, waiting.get(queue, 0))
        return FleetView(live, tuple(self._instances(live)), waiting, frozenset(self._demands))

    def update_quiet_queues(self, view: FleetView, now: float) -> None:
        """Update since when each ready queue has had no hints waiting. Called with every plan."""
        quiet = {queue for queue in view.ready_queues() if view.waiting.get(queue, 0) == 0}
        self._quiet_since = {queue: self._quiet_since.get(queue, now) for queue in quiet}

    def quiet_s(self, queue: str, now: float) -> float:
        """Return for how long a ready queue has had no hints waiting; 0 if some wait or no instance is ready."""
        since = self._quiet_since.get(queue)
        return 0.0 if since is None else now - since

    def _live(self, now: float) -> dict[str, Worker]:
        return {name: each for name, each in self._workers.items() if now - each.seen_at < self._silent_after_s}

    def _instances(self, live: Mapping[str, Worker]) -> Iterator[Instance]:
        known: set[str] = set()
        for worker in live.values():
            for state in worker.instances.values():
                known.add(state.id)
                yield self._instance(worker, state)
        for name, each in self._pending.items():
            if each.queue is not None and name not in known and each.worker in live:
                yield Instance(id=name, queue=each.queue, worker=each.worker, state="booting")

    def _instance(self, worker: Worker, reported: InstanceState) -> Instance:
        state = reported.state
        # A boot that shows is not pending any more, so a pending command here is a stop.
        if state in {"booting", "ready"} and (reported.id in self._pending or worker.draining):
            state = "draining"
        return Instance(
            id=reported.id,
            queue=reported.queue,
            worker=worker.id,
            state=state,
            slots=reported.slots,
            running=reported.running,
            idle_s=reported.idle_s,
            age_s=reported.age_s,
            boot_s=reported.boot_s,
            run_s=reported.run_s,
            busy_s=reported.busy_s,
            gpus=reported.gpus,
            gpu_bytes=reported.gpu_bytes,
        )
