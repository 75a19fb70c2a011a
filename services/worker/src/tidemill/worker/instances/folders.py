"""The folders of instances: each instance has one, and it is removed with the instance. Blocking."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from tidemill.hosting.scratch import remove_tree
from tidemill.model.host import working_directory


class InstancePaths(NamedTuple):
    """`inputs` holds the files of runs; `work` is the version's directory as the model sees it."""

    tmp: Path
    inputs: Path
    work: Path


class InstanceFolders:
    """`root` holds nothing but these folders."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def of(self, instance: str) -> Path:
        return self.root / instance

    def paths(self, instance: str) -> InstancePaths:
        own = self.of(instance)
        return InstancePaths(own / "tmp", own / "inputs", own / "src")

    def make(self, instance: str, directory: Path, uid: int) -> InstancePaths:
        """Make the folders, with the version's files of `directory`. The child has this `uid` if the worker is root."""
        paths = self.paths(instance)
        for folder in (paths.tmp, paths.inputs):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        working_directory.make(directory, paths.work, uid if os.geteuid() == 0 else None)
        return paths

    def remove(self, instance: str) -> None:
        """Remove the instance's folder. No process may write there any more."""
        # Root needs no mode changes to enter closed folders, and changing modes could follow a link made just now.
        if os.geteuid() == 0:
            shutil.rmtree(self.of(instance), ignore_errors=True)
        else:
            remove_tree(self.of(instance))

    def remove_all(self) -> None:
        """Remove what instances of a dead worker left."""
        shutil.rmtree(self.root, ignore_errors=True)
