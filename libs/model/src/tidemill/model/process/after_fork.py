"""The process that a fork has made, before it is anybody's: it sheds what it has of the zygote, and dies with it."""

import os
import resource
import signal
import sys
import types
from dataclasses import dataclass
from typing import Final

from tidemill.model.sandbox import syscalls
from tidemill.model.wire.channel import ORPHANED_EXIT_CODE

_CLOSE_RANGE: Final = 436
_LAST_DESCRIPTOR: Final = 0x7FFF_FFFF


@dataclass(frozen=True)
class Descriptors:
    data: int
    control: int
    log: int  # write end of a pipe: descriptors 1 and 2
    text: int  # write end of the pipe of printed/wire.py


def leave_zygote(descriptors: Descriptors) -> None:
    signal.signal(signal.SIGUSR1, _on_early_signal)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(descriptors.log, 1)
    os.dup2(descriptors.log, 2)
    _close_all_but({0, 1, 2, descriptors.data, descriptors.control, descriptors.text})
    sys.argv = ["model"]
    sys.modules["__main__"] = types.ModuleType("__main__")  # pickle and multiprocessing must not find the zygote there


def _on_early_signal(_number: int, _frame: object) -> None:
    """SIGUSR1 only says that there is something to read, and nobody reads yet."""


def _close_all_but(kept: set[int]) -> None:
    first = 0
    for descriptor in sorted(kept):
        _close_range(first, descriptor - 1)
        first = descriptor + 1
    _close_range(first, _LAST_DESCRIPTOR)


def _close_range(first: int, last: int) -> None:
    if first > last:
        return
    try:
        syscalls.syscall("close_range", _CLOSE_RANGE, first, last, 0)
    except OSError:  # forbidden by an outer seccomp filter, for one
        os.closerange(first, min(last, resource.getrlimit(resource.RLIMIT_NOFILE)[0]) + 1)


def die_with(parent_pid: int) -> None:
    """Must be called after every change of identity, which makes the kernel forget it."""
    syscalls.prctl("pdeathsig", syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(ORPHANED_EXIT_CODE)
