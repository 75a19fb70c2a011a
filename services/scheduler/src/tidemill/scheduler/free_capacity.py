"""Free capacity of the fleet while a plan is built: instances per worker, and GPU memory per device."""

from collections import Counter

from tidemill.scheduler.fleet import FleetView, Instance


class FreeCapacity:
    """Excludes draining workers, and workers that refused a boot until their next heartbeat."""

    def __init__(self, view: FleetView) -> None:
        taken = Counter(each.worker for each in view.instances if each.occupies)
        usable = {name: worker for name, worker in view.workers.items() if not worker.draining}
        self._free = {
            name: worker.capacity - taken[name]
            for name, worker in usable.items()
            if worker.refused_at < worker.seen_at  # a heartbeat came after the refusal
        }
        self._gpus = {name: list(usable[name].gpu_free_bytes) for name in self._free}
        # Instances that are draining: their capacity frees up without another stop, so a need may wait for one of them.
        self.draining = sum(each.state == "draining" and each.worker in usable for each in view.instances)

    def __contains__(self, worker: str) -> bool:
        return worker in self._free

    def take(self, like: Instance | None = None) -> str | None:
        """Reserve capacity for one instance on the worker with the most free; return the worker, or None if there is
        none.

        `like`: the worker's GPUs must also have room for another instance like this one.
        """
        candidates = [
            name for name, free in self._free.items() if free > 0 and (like is None or self._fits(name, like))
        ]
        if not candidates:
            return None
        worker = max(candidates, key=lambda name: (self._free[name], name))
        self._free[worker] -= 1
        if like is not None:
            for device in self._devices(worker, like)[: like.gpus]:
                self._gpus[worker][device] -= like.gpu_bytes
        return worker

    def _fits(self, worker: str, like: Instance) -> bool:
        return len(self._devices(worker, like)) >= like.gpus

    def _devices(self, worker: str, like: Instance) -> list[int]:
        return [device for device, free in enumerate(self._gpus[worker]) if free >= like.gpu_bytes]
