"""What an installer may write while it runs: counted by the kernel, so that no archive's own word is needed for it."""

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

LOOK_EVERY_S: Final = 0.2  # a fast disk takes half a gigabyte meanwhile
SLACK: Final = 1.25  # of the limit: records, indexes and what is written twice
STALE_S: Final = 2 * 3600.0  # no installer runs for so long; what it has not finished is nobody's
_UNPACKING: Final = ".tmp*"  # where uv unpacks an archive, in its cache


class Quota:
    """One process, a leader of its group, and the cache that it fills."""

    def __init__(self, pid: int, cache: Path, limit_bytes: int) -> None:
        self._pid = pid
        self._cache = cache
        self._limit_bytes = limit_bytes * SLACK
        self.exceeded = False
        self.under_way: tuple[str, ...] = ()  # the packages that were being unpacked when it was ended
        self._remains: set[Path] = set()

    async def watch(self) -> None:
        """Ends the process when it has written too much. To be canceled when it has ended."""
        while written_bytes(self._pid) <= self._limit_bytes:  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(LOOK_EVERY_S)
        self._look()
        self.exceeded = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)

    def _look(self) -> None:
        """What it had open tells what it was at; an archive's lock is called after the package."""
        packages = []
        for path in _open_files(self._pid):
            with contextlib.suppress(ValueError):
                parts = path.relative_to(self._cache).parts
                if parts[0].startswith(".tmp"):
                    self._remains.add(self._cache / parts[0])
                elif parts[0].startswith("wheels-") and path.suffix == ".lock":
                    packages.append(f"{path.parent.name} {path.name.partition('-')[0]}")
        self.under_way = tuple(sorted(set(packages)))

    async def clear(self) -> None:
        """Removes what it was unpacking when it was ended."""
        for path in self._remains:
            await finish_in_thread(remove_tree, path)


def written_bytes(pid: int) -> int:
    """Return what the process has written so far; 0 where that is not told."""
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


def measured(target: Path) -> tuple[int, int]:
    """Return bytes and number of the files under it. Blocking."""
    sizes = [status.st_size for status in _files(target)]
    return sum(sizes), len(sizes)


def unshared_bytes(cache: Path) -> int:
    """Return what the files take that no environment has by a link of its own. Blocking."""
    return sum(status.st_size for status in _files(cache) if status.st_nlink == 1)


def _files(top: Path) -> Iterator[os.stat_result]:
    for folder, _, names in os.walk(top):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                yield (Path(folder) / name).lstat()


def remove_stale(cache: Path) -> None:
    """Removes what installers that were killed have left half unpacked. Blocking."""
    for path in cache.glob(_UNPACKING):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime < time.time() - STALE_S:
                remove_tree(path)
