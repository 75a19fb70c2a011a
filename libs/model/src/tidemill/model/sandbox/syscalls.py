"""System calls that Python 3.10 does not offer, called through the C library of the process.

It owns their numbers and the errno convention, no policy. Every call raises OSError when the kernel refuses it.
"""

import ctypes
import os
from typing import Final

LIBC: Final = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
LIBC.prctl.restype = ctypes.c_int

# The same on every architecture (they were added after the tables were unified in Linux 5.2).
LANDLOCK_CREATE_RULESET: Final = 444
LANDLOCK_ADD_RULE: Final = 445
LANDLOCK_RESTRICT_SELF: Final = 446

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_KEEPCAPS: Final = 8
PR_SET_NAME: Final = 15
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_RAISE: Final = 2
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
SECCOMP_MODE_FILTER: Final = 2

CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWCGROUP: Final = 0x0200_0000
CLONE_NEWUTS: Final = 0x0400_0000
CLONE_NEWIPC: Final = 0x0800_0000
CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWPID: Final = 0x2000_0000
CLONE_NEWNET: Final = 0x4000_0000

MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_RDONLY: Final = 0x1
MS_REMOUNT: Final = 0x20
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_SLAVE: Final = 0x8_0000
MS_RELATIME: Final = 0x20_0000
_ST_RELATIME: Final = 0x1000  # the flag of statvfs; its other flags have the numbers of mount
_ST_AS_MS: Final = 0x2 | 0x4 | 0x8 | 0x400 | 0x800  # nosuid, nodev, noexec, noatime, nodiratime

Argument = int | bytes | None


def _as_c(argument: Argument) -> ctypes.c_long | ctypes.c_char_p:
    # A bare Python int would be passed as a 32-bit int to a variadic function.
    if isinstance(argument, int):
        return ctypes.c_long(argument)
    return ctypes.c_char_p(argument)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(what: str, number: int, *arguments: Argument) -> int:
    return _checked(LIBC.syscall(ctypes.c_long(number), *map(_as_c, arguments)), what)


def prctl(what: str, option: int, *arguments: Argument) -> int:
    padded = [*arguments, 0, 0, 0, 0][:4]  # the kernel wants zeros in the arguments that an option does not use
    return _checked(LIBC.prctl(ctypes.c_int(option), *map(_as_c, padded)), what)


def unshare(flags: int) -> None:
    _checked(LIBC.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    _checked(
        LIBC.mount(
            source.encode(),
            target.encode(),
            None if kind is None else kind.encode(),
            ctypes.c_ulong(flags),
            None if data is None else data.encode(),
        ),
        f"mount {target}",
    )


def mount_flags(path: str) -> int:
    """Return the mount flags of the file system of `path`. A remount in a user namespace must keep them all."""
    flags = os.statvfs(path).f_flag
    return flags & _ST_AS_MS | (MS_RELATIME if flags & _ST_RELATIME else 0)
