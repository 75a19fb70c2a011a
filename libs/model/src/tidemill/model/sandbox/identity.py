"""The child's uid and capabilities: a uid of its own if the worker is root, and at most CAP_DAC_READ_SEARCH.

It owns the kernel's capability structures. It never raises privileges.
"""

import contextlib
import os
import struct
from typing import Final

from tidemill.model.sandbox import syscalls

CAP_DAC_READ_SEARCH: Final = 2
_LAST_CAP: Final = 63  # the kernel knows fewer; it returns EINVAL above its own last one
_VERSION_3: Final = 0x2008_0522
_CAPSET: Final = {"x86_64": 126, "aarch64": 91}


def drop_capabilities(*, keep: int = 0) -> None:
    """Give up every capability outside the mask `keep`, for this process and all its descendants. Raise OSError."""
    for number in range(_LAST_CAP + 1):
        if not keep >> number & 1:
            with contextlib.suppress(OSError):  # beyond the kernel's last one, or an ordinary user has none
                syscalls.prctl("capbset", syscalls.PR_CAPBSET_DROP, number)
    with contextlib.suppress(OSError):
        syscalls.prctl("ambient", syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    syscalls.syscall("capset", _CAPSET[os.uname().machine], *_capset_arguments(keep))


def switch_uid(uid: int, *, reads_past_mode_bits: bool) -> None:
    """Switch from root to `uid`, and to the group of that number, for good. Raise OSError.

    With `reads_past_mode_bits` CAP_DAC_READ_SEARCH stays, also across exec: interpreters and model files often lie
    below a 0700 directory. This is safe under Landlock only, whose paths are then the boundary.
    """
    keep = 1 << CAP_DAC_READ_SEARCH if reads_past_mode_bits else 0
    os.setgroups([])
    syscalls.prctl("keepcaps", syscalls.PR_SET_KEEPCAPS, 1)
    for number in range(_LAST_CAP + 1):  # before CAP_SETPCAP is given up
        with contextlib.suppress(OSError):
            if not keep >> number & 1:
                syscalls.prctl("capbset", syscalls.PR_CAPBSET_DROP, number)
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    drop_capabilities(keep=keep)
    if keep:
        syscalls.prctl("ambient", syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH)
    # The change of uid made /proc/self belong to root. Undo that: no other process has this uid.
    syscalls.prctl("dumpable", syscalls.PR_SET_DUMPABLE, 1)


def _capset_arguments(mask: int) -> tuple[bytes, bytes]:
    """Return one struct __user_cap_header_struct and two __user_cap_data_struct {effective, permitted, inheritable}."""
    low, high = mask & 0xFFFF_FFFF, mask >> 32
    return struct.pack("=Ii", _VERSION_3, 0), struct.pack("=6I", low, low, low, high, high, high)
