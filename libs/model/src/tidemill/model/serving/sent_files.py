"""Deletes output files after they were sent, as Cog documents: a warm instance must not fill the disk.

It deletes only files that were written during the prediction, in the temporary directory or in the instance's own
working directory: a model may return one file many times.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterable
from typing import Final

_COMMON_TMP: Final = "/tmp"  # noqa: S108  the instance's own if mounts are private
_CLOCK_SLACK_S: Final = 0.02  # file times come from the kernel's coarse clock, which is up to a tick late

_directories: Final[list[str]] = []  # module state: a process is one instance


def add_directory(directory: str) -> None:
    """Allow deletions in the model's working directory, which belongs to this instance alone."""
    _directories.append(os.path.realpath(directory))


def delete(paths: Iterable[str], written_after: float) -> None:
    """Delete the files written after `written_after`, in seconds of time.time()."""
    roots = {os.path.realpath(tempfile.gettempdir()), _COMMON_TMP, *_directories}
    for path in dict.fromkeys(paths):
        parent = os.path.realpath(os.path.dirname(path) or ".")  # noqa: PTH120  strings throughout
        if not any(parent == root or parent.startswith(f"{root}/") for root in roots):
            continue
        with contextlib.suppress(OSError):
            if os.lstat(path).st_mtime >= written_after - _CLOCK_SLACK_S:
                os.unlink(path)  # noqa: PTH108
