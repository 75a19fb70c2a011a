"""The folders of instances: each has its own, and nothing in it outlives the instance. Blocking: not for the loop."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from tidemill.hosting.scratch import remove_tree
from tidemill.model.host import working_directory


class InstancePaths(NamedTuple):
    """`inputs` holds the files of runs, `work` is the version's directory as the model sees it."""

    tmp: Path
    inputs: Path
    work: Path


class InstanceFolders:
    """`root` holds nothing else."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def of(self, instance: str) -> Path:
        return self.root / instance

    def paths(self, instance: str) -> InstancePaths:
        own = self.of(instance)
        return InstancePaths(own / "tmp", own / "inputs", own / "src")

    def make(self, instance: str, directory: Path, uid: int) -> InstancePaths:
        """With the version's files of `directory`. `uid` is the child's, where this worker can give it one."""
        paths = self.paths(instance)
        for folder in (paths.tmp, paths.inputs):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        working_directory.make(directory, paths.work, uid if os.geteuid() == 0 else None)
        return paths

    def remove(self, instance: str) -> None:
        """Nobody may be left to write there."""
        # Root passes through what a model closed; changing modes could follow a link that a process it left just made.
        if os.geteuid() == 0:
            shutil.rmtree(self.of(instance), ignore_errors=True)
        else:
            remove_tree(self.of(instance))

    def remove_all(self) -> None:
        """What instances of a dead worker left."""
        shutil.rmtree(self.root, ignore_errors=True)
