"""The C library's stdout and stderr, to which C code of a model writes. pipes.py owns the pipe behind them."""

import array
import contextlib
import ctypes
import fcntl
import termios
from typing import Final

from tidemill.model.sandbox import syscalls

_LINE_BUFFERED: Final = 1  # _IOLBF


def set_line_buffering() -> None:
    """Set line buffering: the C library buffers a pipe in blocks."""
    with contextlib.suppress(ValueError):  # this C library has no such symbol
        stdout = ctypes.c_void_p.in_dll(syscalls.LIBC, "stdout")
        syscalls.LIBC.setvbuf(stdout, None, _LINE_BUFFERED, 0)


def flush() -> None:
    syscalls.LIBC.fflush(None)


def unread_bytes() -> int:
    """Return how many bytes of the pipe the worker has not read yet."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(1, termios.FIONREAD, count)
    except OSError:  # the model closed or replaced its standard output
        return 0
    return count[0]
