"""The C library's own stdout and stderr, which model code in C writes to, and the pipe behind them; see logs.py too."""

import array
import contextlib
import ctypes
import fcntl
import termios
import time
from typing import Final

from tidemill.model import syscalls

_LINE_BUFFERED: Final = 1  # _IOLBF
_POLL_S: Final = 0.0001  # the worker reads a pipe within a turn of its loop
_TAKEN_WITHIN_S: Final = 0.1  # a busy worker: the text is still read, its owner may be mistaken


def prepare() -> None:
    """It is a pipe now, which the C library would buffer in blocks."""
    with contextlib.suppress(ValueError):  # a C library without the symbol
        stdout = ctypes.c_void_p.in_dll(syscalls.LIBC, "stdout")
        syscalls.LIBC.setvbuf(stdout, None, _LINE_BUFFERED, 0)


def flush() -> None:
    syscalls.LIBC.fflush(None)


def untaken_bytes() -> int:
    """What the worker has not read yet; the pipe tells its writer too."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(1, termios.FIONREAD, count)
    except OSError:  # the model closed or replaced its standard output
        return 0
    return count[0]


def wait_until_taken() -> None:
    """The worker can only tell whose text is in the pipe while its prediction is one that runs."""
    deadline = time.monotonic() + _TAKEN_WITHIN_S
    while untaken_bytes() and time.monotonic() < deadline:
        time.sleep(_POLL_S)
