"""Deletes output files once they are handed over, as Cog promises its authors: a warm instance must not fill the disk.

Only what was written during the prediction and lies in the temporary directory or in a working directory of the
instance's own: a model may return what it made once.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterable
from typing import Final

_COMMON_TMP: Final = "/tmp"  # noqa: S108  the instance's own where mounts are private
_CLOCK_SLACK_S: Final = 0.02  # file times come from the kernel's coarse clock, up to a tick behind

_own: Final[list[str]] = []  # a process is one instance


def own(directory: str) -> None:
    """The model's working directory is this instance's alone."""
    _own.append(os.path.realpath(directory))


def delete(paths: Iterable[str], born_after: float) -> None:
    """`born_after` is in seconds of time.time()."""
    roots = {os.path.realpath(tempfile.gettempdir()), _COMMON_TMP, *_own}
    for path in dict.fromkeys(paths):
        parent = os.path.realpath(os.path.dirname(path) or ".")  # noqa: PTH120  strings throughout
        if not any(parent == root or parent.startswith(f"{root}/") for root in roots):
            continue
        with contextlib.suppress(OSError):
            if os.lstat(path).st_mtime >= born_after - _CLOCK_SLACK_S:
                os.unlink(path)  # noqa: PTH108
