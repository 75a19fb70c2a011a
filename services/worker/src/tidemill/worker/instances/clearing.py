"""What is taken back of an instance when its process has gone: its GPUs, its way out, its files."""

import asyncio

from tidemill.hosting.ways_out import WaysOut
from tidemill.worker.gpus.assignments import GpuAssignments
from tidemill.worker.instances.folders import Folders
from tidemill.worker.instances.life import Life
from tidemill.worker.instances.watching import Watcher


class Clearing:
    def __init__(self, gpus: GpuAssignments, ways_out: WaysOut, watcher: Watcher, folders: Folders) -> None:
        self._gpus = gpus
        self._ways_out = ways_out
        self._watcher = watcher
        self._folders = folders

    async def give_gpus_back(self, life: Life) -> None:
        """A boot that failed is shown for a while; others need not wait for it."""
        await life.process_gone()
        self._gpus.release(life.instance.id)

    async def clear(self, life: Life) -> None:
        """Removes what the instance wrote, once nobody is left to write more."""
        instance = life.instance.id
        self._watcher.forget(instance)
        await self._ways_out.close(instance)
        await life.process_gone()
        await asyncio.to_thread(self._folders.remove, instance)
        self._gpus.release(instance)
