"""Limits what an installer writes while it runs. The kernel counts, so archives cannot lie about it."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tidemill.hosting.scratch import remove_tree
from tidemill.hosting.threads import finish_in_thread

POLL_S: Final = 0.2  # a fast disk writes half a gigabyte in that time
SLACK: Final = 1.25  # times the limit: for records, indexes and files written twice
STALE_S: Final = 2 * 3600.0  # no installer runs that long; older unfinished files are abandoned
_UNPACKING: Final = ".tmp*"  # where uv unpacks archives, in its cache


class WriteQuota:
    """The quota of one process that leads its process group, and fills `cache`."""

    def __init__(self, pid: int, cache: Path, limit_bytes: int) -> None:
        self._pid = pid
        self._cache = cache
        self._limit_bytes = limit_bytes * SLACK
        self.exceeded = False
        self.under_way: tuple[str, ...] = ()  # the packages that were being unpacked when it was killed
        self._leftovers: set[Path] = set()

    async def watch(self) -> None:
        """Kill the process group when it has written too much. Cancel this when the process has ended."""
        while written_bytes(self._pid) <= self._limit_bytes:  # noqa: ASYNC110 - the kernel sends no event
            await asyncio.sleep(POLL_S)
        self._record_open_files()
        self.exceeded = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)

    def _record_open_files(self) -> None:
        """Find by its open files what it was unpacking. The lock file of an archive has the package's name."""
        packages = []
        for path in _open_files(self._pid):
            with contextlib.suppress(ValueError):
                parts = path.relative_to(self._cache).parts
                if parts[0].startswith(".tmp"):
                    self._leftovers.add(self._cache / parts[0])
                elif parts[0].startswith("wheels-") and path.suffix == ".lock":
                    packages.append(f"{path.parent.name} {path.name.partition('-')[0]}")
        self.under_way = tuple(sorted(set(packages)))

    async def remove_leftovers(self) -> None:
        """Remove what it was unpacking when it was killed."""
        for path in self._leftovers:
            await finish_in_thread(remove_tree, path)


def written_bytes(pid: int) -> int:
    """Return what the process has written so far; 0 if unknown."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.partition(":")[2]) for line in lines if line.startswith("wchar:")), 0)


def _open_files(pid: int) -> list[Path]:
    found = []
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(entry.readlink())
    return found


def measure(target: Path) -> tuple[int, int]:
    """Return the size and number of the files under it. Blocking."""
    sizes = [status.st_size for status in _files(target)]
    return sum(sizes), len(sizes)


def unshared_bytes(cache: Path) -> int:
    """Return the size of the files that no environment links to. Blocking."""
    return sum(status.st_size for status in _files(cache) if status.st_nlink == 1)


def _files(top: Path) -> Iterator[os.stat_result]:
    for folder, _, names in os.walk(top):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                yield (Path(folder) / name).lstat()


def remove_stale(cache: Path) -> None:
    """Remove what killed installers have left half unpacked. Blocking."""
    for path in cache.glob(_UNPACKING):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime < time.time() - STALE_S:
                remove_tree(path)
