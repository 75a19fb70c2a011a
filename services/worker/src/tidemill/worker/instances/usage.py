"""What the processes of an instance use of memory and disk, as the kernel tells it. Blocking, read-only."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

# Of these the model is the cause; pages of files go when somebody else needs the room.
_OWN: Final = ("RssAnon:", "RssShmem:")
_OWN_SHARE: Final = ("Pss_Anon:", "Pss_Shmem:")  # shared pages in equal parts: forked loaders share their model
_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108  looked at, never written
_ANONYMOUS_SHARED: Final = re.compile(
    rb"^[0-9a-f]+-[0-9a-f]+ .*(?:/dev/zero|/SYSV[0-9a-f]{8}) \(deleted\)\n(?:\w+: .*\n)*?Pss: +(\d+) kB", re.MULTILINE
)
_BLOCK_BYTES: Final = 512  # of st_blocks, whatever the file system's own are


def memory_bytes(processes: Sequence[int], limit_bytes: int) -> int:
    """What the processes of one instance hold: private and shared memory, files in a /dev/shm of its own, memfds.

    What is below the limit may be counted too high, pages that several share as often; above it nothing is.
    """
    figures = [_kilobytes(f"/proc/{pid}/status", _OWN) for pid in processes]
    files = files_in_memory_bytes(processes)
    roughly = sum(map(sum, figures)) + files
    if roughly <= limit_bytes:
        return roughly
    shares = [_kilobytes(f"/proc/{pid}/smaps_rollup", _OWN_SHARE) for pid in processes]
    exact = [share if any(share) else figure for share, figure in zip(shares, figures, strict=True)]
    private, shared = (sum(column) for column in zip(*exact, strict=True)) if exact else (0, 0)
    # Pages of those files are among the shared ones where they are mapped. How many is asked only if it decides.
    least, most = private + max(shared, files), private + shared + files
    if most <= limit_bytes or not min(shared, files):
        return most
    if least > limit_bytes:
        return least
    return private + files + sum(map(_shared_without_file, processes))


def files_in_memory_bytes(processes: Sequence[int]) -> int:
    """What no process needs to have mapped: files of a /dev/shm of their own, and memfds that one of them has open."""
    memfds: dict[tuple[int, int], int] = {}
    for pid in processes:
        memfds.update(_memfds(pid))
    return sum(memfds.values()) + _own_shared_memory_bytes(processes)


def _own_shared_memory_bytes(processes: Iterable[int]) -> int:
    for pid in processes:
        with contextlib.suppress(OSError):
            place = f"/proc/{pid}/root{_SHARED_MEMORY}"
            if os.stat(place).st_dev == os.stat(_SHARED_MEMORY).st_dev:  # noqa: PTH116  the machine's, closed to models
                return 0
            held = os.statvfs(place)
            return (held.f_blocks - held.f_bfree) * held.f_frsize
    return 0


def _memfds(pid: int) -> Iterator[tuple[tuple[int, int], int]]:
    """Each by its device and inode, with its size."""
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208  asked for each process each second
            with contextlib.suppress(OSError):  # closed meanwhile
                path = f"{folder}/{name}"
                if os.readlink(path).startswith("/memfd:"):  # noqa: PTH115
                    found = os.stat(path)  # noqa: PTH116
                    yield (found.st_dev, found.st_ino), found.st_blocks * _BLOCK_BYTES


def _shared_without_file(pid: int) -> int:
    """Its share of memory that processes share and that no file or memfd stands for."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/smaps").read_bytes()
        return sum(int(kilobytes) * 1024 for kilobytes in _ANONYMOUS_SHARED.findall(text))
    return 0


def _kilobytes(path: str, names: tuple[str, str]) -> tuple[int, int]:
    """Of the two lines "Name:  123 kB", in bytes; 0 when the process has gone, or may not be looked at."""
    try:
        lines = Path(path).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0, 0
    found = dict(line.split()[:2] for line in lines if line.startswith(names))
    first, second = (int(found.get(name, 0)) * 1024 for name in names)
    return first, second


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


def lies_in_memory(folder: Path) -> bool:
    """Whether its file system is one of those that hold their files in memory."""
    place, kind = Path("/"), ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            mount, _, source = line.partition(" - ")
            point = Path(mount.split()[4].replace("\\040", " "))
            if folder.resolve().is_relative_to(point) and len(point.parts) >= len(place.parts):
                place, kind = point, source.split()[0]
    return kind in {"tmpfs", "ramfs"}


def kernel_kills() -> int:
    """How often the kernel has ended a process because memory ran out, since the machine started."""
    return _counter("/proc/vmstat", "oom_kill ")


def _counter(path: str, name: str) -> int:
    try:
        lines = Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
