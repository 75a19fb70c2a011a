"""What is left of the fleet's room while a plan is made: places by worker, and what is free on their GPUs."""

from collections import Counter

from tidemill.scheduler.fleet import Instance, View


class Places:
    """Workers that drain are left out, and those that refused a boot until they say again what they offer."""

    def __init__(self, view: View) -> None:
        taken = Counter(each.worker for each in view.instances if each.occupies)
        usable = {name: worker for name, worker in view.workers.items() if not worker.draining}
        self._free = {
            name: worker.capacity - taken[name]
            for name, worker in usable.items()
            if worker.refused_at < worker.seen_at  # what it offers has been heard since
        }
        self._gpus = {name: list(usable[name].gpu_free_bytes) for name in self._free}
        # Places that empty soon without further stops: a need that waits for one must not have another one emptied.
        self.coming = sum(each.state == "draining" and each.worker in usable for each in view.instances)

    def __contains__(self, worker: str) -> bool:
        return worker in self._free

    def take(self, like: Instance | None = None) -> str | None:
        """A place on the emptiest worker; `like`: only where the GPUs have room for another one like it as well."""
        roomy = [name for name, free in self._free.items() if free > 0 and (like is None or self._fits(name, like))]
        if not roomy:
            return None
        worker = max(roomy, key=lambda name: (self._free[name], name))
        self._free[worker] -= 1
        if like is not None:
            for device in self._devices(worker, like)[: like.gpus]:
                self._gpus[worker][device] -= like.gpu_bytes
        return worker

    def _fits(self, worker: str, like: Instance) -> bool:
        return len(self._devices(worker, like)) >= like.gpus

    def _devices(self, worker: str, like: Instance) -> list[int]:
        return [device for device, free in enumerate(self._gpus[worker]) if free >= like.gpu_bytes]
