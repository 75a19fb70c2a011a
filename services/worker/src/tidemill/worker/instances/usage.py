"""Measures the memory and disk that an instance uses, from /proc. Blocking, read-only."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

# Memory that the model itself caused; pages of files are dropped when memory is short.
_OWN: Final = ("RssAnon:", "RssShmem:")
_OWN_SHARE: Final = ("Pss_Anon:", "Pss_Shmem:")  # shared pages are divided: forked data loaders share their model
_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108  only read
_ANONYMOUS_SHARED: Final = re.compile(
    rb"^[0-9a-f]+-[0-9a-f]+ .*(?:/dev/zero|/SYSV[0-9a-f]{8}) \(deleted\)\n(?:\w+: .*\n)*?Pss: +(\d+) kB", re.MULTILINE
)
_BLOCK_BYTES: Final = 512  # the unit of st_blocks on every file system


def memory_bytes(processes: Sequence[int], limit_bytes: int) -> int:
    """Return the memory of one instance's processes: private, shared, files in its own /dev/shm, memfds.

    A result below the limit may be too high, because shared pages count for each process. Above it, it is exact.
    """
    figures = [_kilobytes(f"/proc/{pid}/status", _OWN) for pid in processes]
    files = files_in_memory_bytes(processes)
    roughly = sum(map(sum, figures)) + files
    if roughly <= limit_bytes:
        return roughly
    shares = [_kilobytes(f"/proc/{pid}/smaps_rollup", _OWN_SHARE) for pid in processes]
    exact = [share if any(share) else figure for share, figure in zip(shares, figures, strict=True)]
    private, shared = (sum(column) for column in zip(*exact, strict=True)) if exact else (0, 0)
    # Mapped pages of those files are among the shared ones. How many is measured only if it decides.
    least, most = private + max(shared, files), private + shared + files
    if most <= limit_bytes or not min(shared, files):
        return most
    if least > limit_bytes:
        return least
    return private + files + sum(map(_shared_without_file, processes))


def files_in_memory_bytes(processes: Sequence[int]) -> int:
    """Return the size of files in the processes' own /dev/shm and of their open memfds, mapped or not."""
    memfds: dict[tuple[int, int], int] = {}
    for pid in processes:
        memfds.update(_memfds(pid))
    return sum(memfds.values()) + _own_shared_memory_bytes(processes)


def _own_shared_memory_bytes(processes: Iterable[int]) -> int:
    for pid in processes:
        with contextlib.suppress(OSError):
            place = f"/proc/{pid}/root{_SHARED_MEMORY}"
            if os.stat(place).st_dev == os.stat(_SHARED_MEMORY).st_dev:  # noqa: PTH116  the machine's own, closed to models
                return 0
            held = os.statvfs(place)
            return (held.f_blocks - held.f_bfree) * held.f_frsize
    return 0


def _memfds(pid: int) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield the device and inode of each memfd, with its size."""
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208  called for each process every second
            with contextlib.suppress(OSError):  # closed meanwhile
                path = f"{folder}/{name}"
                if os.readlink(path).startswith("/memfd:"):  # noqa: PTH115
                    found = os.stat(path)  # noqa: PTH116
                    yield (found.st_dev, found.st_ino), found.st_blocks * _BLOCK_BYTES


def _shared_without_file(pid: int) -> int:
    """Return the process's share of shared memory that no file or memfd stands for."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/smaps").read_bytes()
        return sum(int(kilobytes) * 1024 for kilobytes in _ANONYMOUS_SHARED.findall(text))
    return 0


def _kilobytes(path: str, names: tuple[str, str]) -> tuple[int, int]:
    """Return the values of two lines "Name:  123 kB" in bytes; 0 if the process has gone or is unreadable."""
    try:
        lines = Path(path).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0, 0
    found = dict(line.split()[:2] for line in lines if line.startswith(names))
    first, second = (int(found.get(name, 0)) * 1024 for name in names)
    return first, second


def disk_bytes(folder: Path, limit_bytes: int) -> int:
    """Return the bytes below the folder. Links are not followed; counting stops above the limit."""
    total, waiting = 0, [os.fspath(folder)]
    while waiting and total <= limit_bytes:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:  # it may have been removed
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
    return total


def lies_in_memory(folder: Path) -> bool:
    """Whether the folder's file system keeps its files in memory."""
    place, kind = Path("/"), ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            mount, _, source = line.partition(" - ")
            point = Path(mount.split()[4].replace("\\040", " "))
            if folder.resolve().is_relative_to(point) and len(point.parts) >= len(place.parts):
                place, kind = point, source.split()[0]
    return kind in {"tmpfs", "ramfs"}


def kernel_kills() -> int:
    """Return how many processes the kernel has killed for lack of memory since the machine started."""
    return _counter("/proc/vmstat", "oom_kill ")


def _counter(path: str, name: str) -> int:
    try:
        lines = Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
