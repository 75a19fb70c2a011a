"""Messages about versions: one waits to be built, one was made elsewhere, one was deleted. All are hints."""

from tidemill.contracts.events import PushQueued, QueueRemoved, VersionCreated
from tidemill.worker.cache.prefetch import Prefetcher
from tidemill.worker.instances.manager import InstanceManager
from tidemill.worker.versions.pushes import PushBuilder


class VersionHandler:
    def __init__(self, push_builder: PushBuilder, prefetcher: Prefetcher, manager: InstanceManager) -> None:
        self._push_builder = push_builder
        self._prefetcher = prefetcher
        self._manager = manager

    async def on_push(self, _: PushQueued) -> None:
        self._push_builder.wake()

    async def on_version(self, event: VersionCreated) -> None:
        self._prefetcher.add(event.account, event.queue)

    async def on_removed(self, event: QueueRemoved) -> None:
        """The instances of a deleted version end when they have finished what they run."""
        self._manager.stop_queue(event.queue)
