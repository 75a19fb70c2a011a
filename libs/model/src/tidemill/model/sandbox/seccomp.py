"""The seccomp filter: refuses, with EPERM, system calls that no model needs and that kernel exploits use.

A deny list, assembled here into classic BPF for x86_64 and aarch64. A filter sees call numbers and plain arguments,
never what a pointer leads to: paths are left to Landlock.
"""

import ctypes
import errno
import os
import struct
from dataclasses import dataclass
from typing import Final

from tidemill.model.sandbox import syscalls

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

ALLOW: Final = 0x7FFF_0000
KILL_PROCESS: Final = 0x8000_0000
_ERRNO: Final = 0x0005_0000

# Offsets in struct seccomp_data {int nr; u32 arch; u64 ip; u64 args[6]}; both machines are little-endian.
_NR, _ARCH, _ARG0_LOW, _ARG1_LOW = 0, 4, 16, 24

_X32_BIT: Final = 0x4000_0000  # x86_64 only: the x32 ABI offers every call under a second number

NEW_NAMESPACES: Final = (
    syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWCGROUP
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUSER
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWNET
)

# name: (x86_64, aarch64); None if the architecture has no such call.
DENIED: Final[dict[str, tuple[int | None, int | None]]] = {
    # reading or controlling other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "perf_event_open": (298, 241),
    # kernel interfaces with many past vulnerabilities
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "fanotify_init": (300, 262),
    # bypasses of Landlock: they open files by handle, not by path
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    # root directories, mounts and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    # the machine itself
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "lookup_dcookie": (212, 18),
}


# prlimit() can change the limits of another process with the same uid, and a limit can kill. Allowed for itself only.
PRLIMIT: Final = (302, 261)

# A process that is not dumpable hides its descriptors from a worker without root, which counts the memory they hold.
PRCTL: Final = (157, 167)
SET_DUMPABLE: Final = 4

# System V shared memory, refused if its size cannot be limited.
SYSV_MEMORY: Final = (29, 194)  # shmget

# If neither Landlock nor an own uid confines signals: these may go to the process itself and its group only, ...
SELF_SIGNALS: Final[dict[str, tuple[int, int]]] = {"kill": (62, 129), "tgkill": (234, 131)}
# ... these are refused, because no model needs them, ...
OTHER_SIGNALS: Final[dict[str, tuple[int, int]]] = {
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
}
# ... and so are requests that the kernel sends them on I/O: F_SETOWN and F_SETOWN_EX, FIOSETOWN and SIOCSPGRP.
SIGNAL_OWNERS: Final = (("fcntl", (72, 25), (8, 15)), ("ioctl", (16, 29), (0x8901, 0x8902)))


@dataclass(frozen=True)
class Architecture:
    column: int
    audit_arch: int
    socket: int
    clone: int
    clone3: int
    has_x32: bool


ARCHITECTURES: Final = {
    "x86_64": Architecture(column=0, audit_arch=0xC000_003E, socket=41, clone=56, clone3=435, has_x32=True),
    "aarch64": Architecture(column=1, audit_arch=0xC000_00B7, socket=198, clone=220, clone3=435, has_x32=False),
}

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, k


def _refuse(number: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


def _on_call(number: int, then: list[Instruction]) -> list[Instruction]:
    """Run `then`, which must end in a return, for this call number only."""
    return [(_EQUAL, 0, len(then), number), *then]


def _first_argument_in(allowed: tuple[int, ...], refusal: int) -> list[Instruction]:
    allow = [(_EQUAL, len(allowed) - i, 0, value) for i, value in enumerate(allowed)]
    return [(_LOAD, 0, 0, _ARG0_LOW), *allow, _refuse(refusal), (_RETURN, 0, 0, ALLOW)]


def _second_argument_not_in(refused: tuple[int, ...]) -> list[Instruction]:
    refuse = [(_EQUAL, len(refused) - i, 0, value) for i, value in enumerate(refused)]
    return [(_LOAD, 0, 0, _ARG1_LOW), *refuse, (_RETURN, 0, 0, ALLOW), _refuse(errno.EPERM)]


def _first_argument_not(refused: int) -> list[Instruction]:
    return [(_LOAD, 0, 0, _ARG0_LOW), (_EQUAL, 0, 1, refused), _refuse(errno.EPERM), (_RETURN, 0, 0, ALLOW)]


def _signals_to(machine: Architecture, pid: int) -> list[Instruction]:
    """Allow signals to the process `pid` and its group only."""
    code: list[Instruction] = []
    own_group = (0, pid, -pid & 0xFFFF_FFFF)
    for name, numbers in SELF_SIGNALS.items():
        targets = own_group if name == "kill" else (pid,)
        code += _on_call(numbers[machine.column], _first_argument_in(targets, errno.EPERM))
    for numbers in OTHER_SIGNALS.values():
        code += _on_call(numbers[machine.column], [_refuse(errno.EPERM)])
    for _, numbers, commands in SIGNAL_OWNERS:
        code += _on_call(numbers[machine.column], _second_argument_not_in(commands))
    return code


def program(
    machine: Architecture, families: tuple[int, ...], *, signals_to: int | None = None, sysv_memory: bool = True
) -> list[Instruction]:
    """Return the filter. It allows socket() for the address `families` only; socketpair() always works.

    With `signals_to`, a process id, signals go to that process and its group only. Without `sysv_memory`, shmget() is
    refused.
    """
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, machine.audit_arch),
        (_RETURN, 0, 0, KILL_PROCESS),
        (_LOAD, 0, 0, _NR),
    ]
    if machine.has_x32:
        code += [(_AT_LEAST, 0, 1, _X32_BIT), _refuse(errno.EPERM)]
    code += _on_call(machine.socket, _first_argument_in(families, errno.EAFNOSUPPORT))
    code += _on_call(PRLIMIT[machine.column], _first_argument_in((0,), errno.EPERM))
    code += _on_call(PRCTL[machine.column], _first_argument_not(SET_DUMPABLE))
    if not sysv_memory:
        code += _on_call(SYSV_MEMORY[machine.column], [_refuse(errno.ENOSYS)])
    if signals_to is not None:
        code += _signals_to(machine, signals_to)
    namespaces = [(_LOAD, 0, 0, _ARG0_LOW), (_ANY_BIT, 0, 1, NEW_NAMESPACES), _refuse(errno.EPERM)]
    code += _on_call(machine.clone, [*namespaces, (_RETURN, 0, 0, ALLOW)])
    # clone3 passes its flags by pointer. On ENOSYS the C library falls back to clone.
    code += _on_call(machine.clone3, [_refuse(errno.ENOSYS)])
    numbers = [numbers[machine.column] for numbers in DENIED.values()]
    denied = [number for number in numbers if number is not None]
    code += [(_EQUAL, len(denied) - i, 0, number) for i, number in enumerate(denied)]
    return [*code, (_RETURN, 0, 0, ALLOW), _refuse(errno.EPERM)]


def assemble(code: list[Instruction]) -> bytes:
    """Return an array of struct sock_filter: u16 code, u8 jt, u8 jf, u32 k."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


class _SockFprog(ctypes.Structure):
    """struct sock_fprog: points to the instructions."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(families: tuple[int, ...], *, signals_to: int | None = None, sysv_memory: bool = True) -> None:
    """Filter this process and all its descendants for good. no_new_privs must be set. Raise OSError."""
    machine = ARCHITECTURES.get(os.uname().machine)
    if machine is None:
        raise OSError(f"no table of system calls for {os.uname().machine}")
    code = program(machine, families, signals_to=signals_to, sysv_memory=sysv_memory)
    instructions = assemble(code)  # must live until the kernel has copied them: the header holds a pointer
    header = bytes(_SockFprog(len(code), instructions))
    syscalls.prctl("seccomp", syscalls.PR_SET_SECCOMP, syscalls.SECCOMP_MODE_FILTER, header)
