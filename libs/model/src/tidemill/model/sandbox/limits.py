"""Resource limits of one child, enforced by the kernel.

They bound accidents and attacks on one machine; fair shares of CPU and memory belong to cgroups.
"""

import contextlib
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# 1, not 0: the kernel pipes a core to a registered handler whatever the limit, except when it is exactly 1
# (fs/coredump.c), and a core of a model is as large as its weights.
_CORE_BYTES: Final = 1

# System V segments lie in no file system and need not be mapped, so the worker cannot count them.
_SYSV_MEMORY_BYTES: Final = 64 * 1024**2

# When the machine runs out of memory, the kernel kills the child before the worker or a database.
_OOM_SCORE: Final = 500


@dataclass(frozen=True)
class ResourceLimits:
    open_files: int = 4096  # data loaders and memory-mapped shards; far below what would harm the kernel
    processes: int = 1024  # threads count: BLAS and OpenMP start one per core, a fork bomb stops here
    file_bytes: int = 32 * 1024**3  # one file; more than any output or cache file, less than a disk
    shared_memory_bytes: int = 2 * 1024**3  # the private /dev/shm; what data loaders pass around
    # Private writable memory. None by default: RLIMIT_DATA also counts what CUDA reserves and never touches.
    data_bytes: int | None = None


def apply(limits: ResourceLimits, *, counts_processes: bool) -> None:
    """Lower the limits of this process for good. Raise OSError or ValueError if one cannot be set.

    `counts_processes` is false if other processes share the uid: the kernel would count their threads too.
    """
    _lower(resource.RLIMIT_CORE, _CORE_BYTES)
    _lower(resource.RLIMIT_NOFILE, limits.open_files)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    if counts_processes:
        _lower(resource.RLIMIT_NPROC, limits.processes)
    if limits.data_bytes is not None:
        _lower(resource.RLIMIT_DATA, limits.data_bytes)
    with contextlib.suppress(OSError):  # protects other processes, but is no boundary
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")


def limit_sysv_memory() -> bool:
    """Limit all System V segments of this process's own IPC namespace. Return False if the system refuses."""
    try:
        Path("/proc/sys/kernel/shmall").write_text(str(_SYSV_MEMORY_BYTES // resource.getpagesize()), encoding="ascii")
    except OSError:
        return False
    return True


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))
