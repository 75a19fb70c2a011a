"""The first steps of a forked process: it gives up what it inherited from the zygote, and will die with it."""

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
    text: int  # write end of the pipe of wire/text_stream.py


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
    sys.modules["__main__"] = types.ModuleType("__main__")  # hide the zygote's module from pickle and multiprocessing


def _on_early_signal(_number: int, _frame: object) -> None:
    """Ignore SIGUSR1: it announces data on the control socket, which is read later anyway."""


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
    except OSError:  # forbidden, for instance by an outer seccomp filter
        os.closerange(first, min(last, resource.getrlimit(resource.RLIMIT_NOFILE)[0]) + 1)


def die_with_parent(parent_pid: int) -> None:
    """Make the kernel kill this process when its parent ends. A change of the uid resets this: call it again."""
    syscalls.prctl("pdeathsig", syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(ORPHANED_EXIT_CODE)
