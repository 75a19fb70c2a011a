"""What is taken back of an instance when its process has gone: its GPUs, its way out, its files."""

import asyncio

from tidemill.hosting.child.egress_proxies import EgressProxies
from tidemill.worker.gpus.assignments import GpuAssignments
from tidemill.worker.instances.folders import InstanceFolders
from tidemill.worker.instances.managed_instance import ManagedInstance
from tidemill.worker.instances.monitor import InstanceMonitor


class Cleanup:
    def __init__(
        self, gpus: GpuAssignments, egress_proxies: EgressProxies, watcher: InstanceMonitor, folders: InstanceFolders
    ) -> None:
        self._gpus = gpus
        self._egress_proxies = egress_proxies
        self._watcher = watcher
        self._folders = folders

    async def give_gpus_back(self, managed: ManagedInstance) -> None:
        """A boot that failed is shown for a while; others need not wait for it."""
        await managed.process_gone()
        self._gpus.release(managed.instance.id)

    async def clear(self, managed: ManagedInstance) -> None:
        """Removes what the instance wrote, once nobody is left to write more."""
        instance = managed.instance.id
        self._watcher.forget(instance)
        await self._egress_proxies.close(instance)
        await managed.process_gone()
        await asyncio.to_thread(self._folders.remove, instance)
        self._gpus.release(instance)
