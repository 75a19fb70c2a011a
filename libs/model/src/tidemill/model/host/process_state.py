"""What the kernel says of a process: whether it runs, is stopped or is ending. Linux's /proc; reads are short."""

from pathlib import Path
from typing import Final

_EXITING: Final = 0x4  # PF_EXITING of the kernel's flags: it closes its files after this is set
_STATE: Final = 0  # behind the name, which may hold anything
_FLAGS: Final = 6


def is_ending(pid: int) -> bool:
    """Also where nothing can be read: it is gone, or not ours to see."""
    fields = _stat(pid)
    return fields is None or fields[_STATE] in {"Z", "X"} or bool(int(fields[_FLAGS]) & _EXITING)


def is_stopped(pid: int) -> bool:
    """By a signal such as SIGSTOP: it goes on when somebody sends SIGCONT, and not before."""
    fields = _stat(pid)
    return fields is not None and fields[_STATE] == "T"


def _stat(pid: int) -> list[str] | None:
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return line.rpartition(")")[2].split()
