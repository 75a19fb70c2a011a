"""The worker's part of the disk: files of models, environments, zygotes and the folders of instances."""

import msgspec

from tidemill.hosting.child.zygotes import Zygotes
from tidemill.hosting.environments.installer import Installer
from tidemill.hosting.environments.store import Environments
from tidemill.hosting.scratch import Scratch
from tidemill.worker.cache.blobs import BlobCache, ObjectStoreBlobs
from tidemill.worker.cache.bundles import BundleCache
from tidemill.worker.context import Context
from tidemill.worker.instances.folders import InstanceFolders


class LocalStore(msgspec.Struct, frozen=True, kw_only=True):
    """What lies on this machine's disk: what instances are made of, and the folders that they write to."""

    scratch: Scratch
    blobs: BlobCache
    bundles: BundleCache
    environments: Environments
    zygotes: Zygotes
    folders: InstanceFolders


def open_local_store(context: Context) -> LocalStore:
    home = context.home
    scratch = Scratch(home)
    installer = Installer(home / "uv", limit_bytes=context.config.environment_limit_bytes)
    blobs = BlobCache(home / "blobs", ObjectStoreBlobs(context.objects), scratch)
    return LocalStore(
        scratch=scratch,
        blobs=blobs,
        bundles=BundleCache(home / "versions", blobs, scratch),
        environments=Environments(home / "environments", installer, scratch),
        zygotes=Zygotes(home),
        folders=InstanceFolders(home / "instances"),
    )
