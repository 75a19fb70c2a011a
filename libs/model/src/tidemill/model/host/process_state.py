"""Whether a process is stopped or ending, from Linux's /proc. Blocking, but short."""

from pathlib import Path
from typing import Final

_EXITING: Final = 0x4  # the kernel's flag PF_EXITING: set before the process closes its files
_STATE: Final = 0  # the first field after the name, which may contain anything
_FLAGS: Final = 6


def is_ending(pid: int) -> bool:
    """Return True also if /proc has no such process, or hides it."""
    fields = _stat(pid)
    return fields is None or fields[_STATE] in {"Z", "X"} or bool(int(fields[_FLAGS]) & _EXITING)


def is_stopped(pid: int) -> bool:
    """Return whether a signal such as SIGSTOP has stopped the process, until it gets SIGCONT."""
    fields = _stat(pid)
    return fields is not None and fields[_STATE] == "T"


def _stat(pid: int) -> list[str] | None:
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return line.rpartition(")")[2].split()
