"""The C library's own stdout and stderr, which model code in C writes to: never Python's, see logs.py."""

import contextlib
import ctypes
from typing import Final

from tidemill.model import syscalls

_LINE_BUFFERED: Final = 1  # _IOLBF


def prepare() -> None:
    """It is a pipe now, which the C library would buffer in blocks."""
    with contextlib.suppress(ValueError):  # a C library without the symbol
        stdout = ctypes.c_void_p.in_dll(syscalls.LIBC, "stdout")
        syscalls.LIBC.setvbuf(stdout, None, _LINE_BUFFERED, 0)


def flush() -> None:
    syscalls.LIBC.fflush(None)
