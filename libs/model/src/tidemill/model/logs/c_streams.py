"""The C library's own stdout and stderr, which model code in C writes to; see printed/pipes.py for the pipe behind."""

import array
import contextlib
import ctypes
import fcntl
import termios
from typing import Final

from tidemill.model.sandbox import syscalls

_LINE_BUFFERED: Final = 1  # _IOLBF


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
