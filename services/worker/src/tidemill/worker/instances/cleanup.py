"""Releases what an instance held once its process has gone: its GPUs, its network socket, its files."""

import asyncio

from tidemill.hosting.child.egress_proxies import EgressProxies
from tidemill.worker.gpus.assignments import GpuAssignments
from tidemill.worker.instances.folders import InstanceFolders
from tidemill.worker.instances.managed_instance import ManagedInstance
from tidemill.worker.instances.monitor import InstanceMonitor


class Cleanup:
    def __init__(
        self, gpus: GpuAssignments, egress_proxies: EgressProxies, monitor: InstanceMonitor, folders: InstanceFolders
    ) -> None:
        self._gpus = gpus
        self._ways_out = egress_proxies
        self._monitor = monitor
        self._folders = folders

    async def release_gpus(self, managed: ManagedInstance) -> None:
        """For a boot that failed: it is shown for a while, and others need not wait for its GPUs."""
        await managed.wait_for_exit()
        self._gpus.release(managed.instance.id)

    async def clean_up(self, managed: ManagedInstance) -> None:
        """Remove what the instance wrote, after its process has ended."""
        instance = managed.instance.id
        self._monitor.forget(instance)
        await self._ways_out.close(instance)
        await managed.wait_for_exit()
        await asyncio.to_thread(self._folders.remove, instance)
        self._gpus.release(instance)
