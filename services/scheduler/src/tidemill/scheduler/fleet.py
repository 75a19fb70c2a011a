"""The fleet as its heartbeats tell it, with the commands that no heartbeat shows yet. Never does I/O.

All times are seconds of one monotonic clock, handed in. What a worker says replaces what it said before.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from tidemill.contracts.events import Heartbeat, InstanceState

PENDING_LIMIT_S: Final = 5.0  # an accepted command that no heartbeat shows for so long was lost with its worker
FORGET_AFTER_S: Final = 60.0  # by then a silent worker's lease is long over
HINT_LIFE_S: Final = 5.0  # a demand hint nobody has seen served by then is the sweep's to judge


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is as on the wire, but draining as soon as it was asked to stop. The numbers are as of the heartbeat."""

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
        """It serves its queue, or soon will."""
        return self.state in {"booting", "ready"}

    @property
    def occupies(self) -> bool:
        """It takes a place on its worker."""
        return self.state in {"booting", "ready", "draining"}


class Worker(msgspec.Struct, kw_only=True):
    """A worker as of its last heartbeat; one that refused a boot after that gets none before the next."""

    id: str
    capacity: int
    draining: bool
    seen_at: float
    instances: dict[str, InstanceState]
    waiting: dict[str, int]
    gpu_free_bytes: tuple[int, ...] = ()
    refused_at: float = float("-inf")


class Pending(NamedTuple):
    """A command on its way: `queue` is set for a boot. `accepted_at` is None until its worker has agreed."""

    worker: str
    queue: str | None
    accepted_at: float | None = None


class View(NamedTuple):
    """What a plan is made from: live workers, and the instances that are on them or asked for."""

    workers: Mapping[str, Worker]
    instances: tuple[Instance, ...]
    waiting: Mapping[str, int]  # by queue, as the workers see it
    hinted: frozenset[str]  # queues with a prediction that found no warm instance

    def ready_queues(self) -> list[str]:
        """Queues with an instance that takes predictions now, sorted."""
        return sorted({each.queue for each in self.instances if each.state == "ready"})

    def booting_queues(self) -> list[str]:
        """Queues without such an instance that will have one soon, sorted."""
        coming = {each.queue for each in self.instances if each.state == "booting"}
        return sorted(coming.difference(self.ready_queues()))


class Failure(NamedTuple):
    """An instance that has failed; seen once."""

    instance: str
    queue: str
    error: str
    took_s: float = 0.0


class Fleet:
    def __init__(self, *, silent_after_s: float) -> None:
        self._silent_after_s = silent_after_s
        self._workers: dict[str, Worker] = {}
        self._pending: dict[str, Pending] = {}
        self._hints: dict[str, float] = {}
        self._failed: dict[str, float] = {}  # instances whose failure has been told, with the time of the last sight
        self._quiet_since: dict[str, float] = {}

    def hear(self, beat: Heartbeat, now: float) -> list[Failure]:
        """Folds a heartbeat in; answers the failures that are news."""
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
        self._settle_pending(beat)
        for each in beat.instances:
            if each.state == "ready":
                self._hints.pop(each.queue, None)
        return self._news(beat.instances, now)

    def _settle_pending(self, beat: Heartbeat) -> None:
        """A boot has been obeyed when its instance shows; a stop when it drains or is gone."""
        shown = {each.id: each.state for each in beat.instances}
        mine = {name: each for name, each in self._pending.items() if each.worker == beat.worker}
        for name, pending in mine.items():
            obeyed = name in shown if pending.queue is not None else shown.get(name, "draining") == "draining"
            if obeyed:
                del self._pending[name]

    def _news(self, states: Iterable[InstanceState], now: float) -> list[Failure]:
        failed = [each for each in states if each.state == "failed"]
        news = [Failure(each.id, each.queue, each.error or "no reason given", each.age_s) for each in failed]
        fresh = [failure for failure in news if failure.instance not in self._failed]
        self._failed.update({each.id: now for each in failed})
        return fresh

    def hint(self, queue: str, now: float) -> bool:
        """Notes demand for a queue; whether that is news: nothing of it is up, coming, or hinted already."""
        known = any(each.queue == queue and each.alive for each in self._all(self._live(now)))
        news = queue not in self._hints and not known
        self._hints[queue] = now
        return news

    def asked_boot(self, instance: str, queue: str, worker: str) -> None:
        self._pending[instance] = Pending(worker, queue)

    def asked_stop(self, instance: str, worker: str) -> None:
        self._pending[instance] = Pending(worker, None)

    def accepted(self, instance: str, now: float) -> None:
        pending = self._pending.get(instance)
        if pending is not None:
            self._pending[instance] = pending._replace(accepted_at=now)

    def refused(self, instance: str, now: float) -> None:
        """Also for a command without an answer. The worker gets no boot before its next heartbeat."""
        pending = self._pending.pop(instance, None)
        if pending is not None and pending.worker in self._workers:
            self._workers[pending.worker].refused_at = now

    def expire(self, now: float) -> None:
        """Forgets what has not been heard of for long."""
        self._hints = {queue: at for queue, at in self._hints.items() if now - at < HINT_LIFE_S}
        self._failed = {each: at for each, at in self._failed.items() if now - at < FORGET_AFTER_S}
        self._workers = {name: each for name, each in self._workers.items() if now - each.seen_at < FORGET_AFTER_S}
        self._pending = {
            name: each
            for name, each in self._pending.items()
            if each.accepted_at is None or now - each.accepted_at < PENDING_LIMIT_S
        }

    def view(self, now: float) -> View:
        live = self._live(now)
        waiting: dict[str, int] = {}
        for worker in live.values():
            for queue, count in worker.waiting.items():  # each worker counts the same stream, so they do not add up
                waiting[queue] = max(count, waiting.get(queue, 0))
        return View(live, tuple(self._all(live)), waiting, frozenset(self._hints))

    def note_quiet(self, view: View, now: float) -> None:
        """Keeps the times since when each ready queue has had nothing waiting. Called with every plan."""
        quiet = {queue for queue in view.ready_queues() if view.waiting.get(queue, 0) == 0}
        self._quiet_since = {queue: self._quiet_since.get(queue, now) for queue in quiet}

    def quiet_s(self, queue: str, now: float) -> float:
        """For how long a ready queue has had no hints waiting; 0 when some wait or nothing is ready."""
        since = self._quiet_since.get(queue)
        return 0.0 if since is None else now - since

    def _live(self, now: float) -> dict[str, Worker]:
        return {name: each for name, each in self._workers.items() if now - each.seen_at < self._silent_after_s}

    def _all(self, live: Mapping[str, Worker]) -> Iterator[Instance]:
        told: set[str] = set()
        for worker in live.values():
            for state in worker.instances.values():
                told.add(state.id)
                yield self._instance(worker, state)
        for name, each in self._pending.items():
            if each.queue is not None and name not in told and each.worker in live:
                yield Instance(id=name, queue=each.queue, worker=each.worker, state="booting")

    def _instance(self, worker: Worker, told: InstanceState) -> Instance:
        state = told.state
        # A boot that shows is not pending any more, so what is pending here is a stop on its way.
        if state in {"booting", "ready"} and (told.id in self._pending or worker.draining):
            state = "draining"
        return Instance(
            id=told.id,
            queue=told.queue,
            worker=worker.id,
            state=state,
            slots=told.slots,
            running=told.running,
            idle_s=told.idle_s,
            age_s=told.age_s,
            boot_s=told.boot_s,
            run_s=told.run_s,
            busy_s=told.busy_s,
            gpus=told.gpus,
            gpu_bytes=told.gpu_bytes,
        )
