"""What a child and the processes it has started use of memory and disk, as the kernel tells it. Blocking, read-only."""

import contextlib
import os
from pathlib import Path
from typing import Final

# Of these the model is the cause; pages of files go when somebody else needs the room.
_OWN: Final = ("RssAnon:", "RssShmem:")
_OWN_SHARE: Final = ("Pss_Anon:", "Pss_Shmem:")  # shared pages in equal parts: forked loaders share their model
_BLOCK_BYTES: Final = 512  # of st_blocks, whatever the file system's own are


def memory_bytes(pid: int, limit_bytes: int) -> int:
    """Private and shared memory of the process and its descendants.

    What is below the limit may be counted too high, pages that several share as often; above it nothing is.
    """
    processes = family(pid)
    roughly = sum(_sum(f"/proc/{each}/status", _OWN) for each in processes)
    if roughly <= limit_bytes:
        return roughly
    return sum(_share(each) for each in processes)


def _share(pid: int) -> int:
    return _sum(f"/proc/{pid}/smaps_rollup", _OWN_SHARE) or _sum(f"/proc/{pid}/status", _OWN)


def family(pid: int) -> list[int]:
    """The process and its descendants, as far as they have not been handed to another parent."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{each}/task/{each}/children").read_text(encoding="ascii")
            found.extend(int(word) for word in children.split())
    return found


def _sum(path: str, names: tuple[str, ...]) -> int:
    """Of the lines "Name:  123 kB"; 0 when the process has gone, or may not be looked at."""
    try:
        lines = Path(path).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(names))


def disk_bytes(folder: Path, limit_bytes: int) -> int:
    """What lies below the folder, links not followed; it stops to count above the limit."""
    total, waiting = 0, [os.fspath(folder)]
    while waiting and total <= limit_bytes:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:  # it may be gone by now
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
    return total


def kernel_kills() -> int:
    """How often the kernel has ended a process because memory ran out, since the machine started."""
    return _counter("/proc/vmstat", "oom_kill ")


def _counter(path: str, name: str) -> int:
    try:
        lines = Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
