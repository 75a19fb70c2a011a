"""Landlock: limits the files of a child, and its TCP, signals and abstract sockets to its own domain.

It owns the kernel's structures (include/uapi/linux/landlock.h) and the meaning of "read" and "write"; entry.py decides
which paths are granted. A path that is not granted cannot be opened, whatever its mode bits.
"""

import os
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tidemill.model.sandbox import syscalls

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
REMOVE_DIR: Final = 1 << 4
REMOVE_FILE: Final = 1 << 5
MAKE_CHAR: Final = 1 << 6
MAKE_DIR: Final = 1 << 7
MAKE_REG: Final = 1 << 8
MAKE_SOCK: Final = 1 << 9
MAKE_FIFO: Final = 1 << 10
MAKE_BLOCK: Final = 1 << 11
MAKE_SYM: Final = 1 << 12
REFER: Final = 1 << 13
TRUNCATE: Final = 1 << 14
IOCTL_DEV: Final = 1 << 15
RESOLVE_UNIX: Final = 1 << 16

BIND_TCP: Final = 1 << 0
CONNECT_TCP: Final = 1 << 1

SCOPE_ABSTRACT_UNIX_SOCKET: Final = 1 << 0
SCOPE_SIGNAL: Final = 1 << 1

READ: Final = EXECUTE | READ_FILE | READ_DIR
WRITE: Final = (
    READ
    | (WRITE_FILE | TRUNCATE | REFER)
    | (REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SYM | MAKE_SOCK | MAKE_FIFO)
)
DEVICE: Final = READ_FILE | WRITE_FILE | IOCTL_DEV
_OF_A_FILE: Final = DEVICE | EXECUTE | TRUNCATE  # the rights that a file which is no directory can have

# Before ABI 3 (Linux 6.2) a file outside could still be truncated, so an older kernel is no boundary.
MINIMUM_ABI: Final = 3
_NETWORK_ABI: Final = 4
_SIGNALS_ABI: Final = 6
_CREATE_RULESET_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1
_RULE_NET_PORT: Final = 2

# (ABI, file rights new in it). From ABI 9 on it covers sockets with a path; older kernels check their mode bits only.
_FS_BY_ABI: Final = ((1, (1 << 13) - 1), (2, REFER), (3, TRUNCATE), (5, IOCTL_DEV), (9, RESOLVE_UNIX))


@dataclass(frozen=True)
class PathRule:
    path: str
    access: int


def abi() -> int:
    """Return the kernel's Landlock ABI, or 0 if it has none or it is disabled."""
    try:
        return syscalls.syscall(
            "landlock_create_ruleset", syscalls.LANDLOCK_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION
        )
    except OSError:
        return 0


def scopes_signals(version: int) -> bool:
    return version >= _SIGNALS_ABI


def handled_fs(version: int) -> int:
    handled = 0
    for since, rights in _FS_BY_ABI:
        if version >= since:
            handled |= rights
    return handled


@dataclass(frozen=True)
class Restrictions:
    """What is confined to the process's own domain besides files. All of it, unless a layer is switched off."""

    network: bool = True  # TCP, and sockets in the abstract name space
    signals: bool = True
    tcp_ports: tuple[int, ...] = ()  # ports to which it may connect despite `network`


def ruleset_attr(version: int, restrictions: Restrictions = Restrictions()) -> bytes:
    """Return a struct landlock_ruleset_attr, cut to the members that this ABI knows."""
    net = BIND_TCP | CONNECT_TCP if restrictions.network else 0
    scoped = (SCOPE_ABSTRACT_UNIX_SOCKET if restrictions.network else 0) | (SCOPE_SIGNAL if restrictions.signals else 0)
    packed = struct.pack("=QQQ", handled_fs(version), net, scoped)
    if version >= _SIGNALS_ABI:
        return packed
    return packed[:16] if version >= _NETWORK_ABI else packed[:8]


def path_beneath_attr(access: int, parent_fd: int) -> bytes:
    """Return a struct landlock_path_beneath_attr, which is packed."""
    return struct.pack("=Qi", access, parent_fd)


def net_port_attr(access: int, port: int) -> bytes:
    """Return a struct landlock_net_port_attr."""
    return struct.pack("=QQ", access, port)


def restrict(rules: Iterable[PathRule], restrictions: Restrictions = Restrictions()) -> int:
    """Confine this process and all its descendants for good. Return the ABI in force. no_new_privs must be set.

    Paths that do not exist are left out. Raise OSError if the kernel cannot enforce the rules.
    """
    version = abi()
    if version < MINIMUM_ABI:
        raise OSError(f"Landlock ABI {version}, at least {MINIMUM_ABI} (Linux 6.2) is needed")
    attr = ruleset_attr(version, restrictions)
    ruleset = syscalls.syscall("landlock_create_ruleset", syscalls.LANDLOCK_CREATE_RULESET, attr, len(attr), 0)
    try:
        for rule in rules:
            _allow(ruleset, rule, handled_fs(version))
        if version >= _NETWORK_ABI and restrictions.network:
            _allow_ports(ruleset, restrictions.tcp_ports)
        syscalls.syscall("landlock_restrict_self", syscalls.LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _allow_ports(ruleset: int, ports: Iterable[int]) -> None:
    for port in ports:
        attr = net_port_attr(CONNECT_TCP, port)
        syscalls.syscall("landlock_add_rule", syscalls.LANDLOCK_ADD_RULE, ruleset, _RULE_NET_PORT, attr, 0)


def _allow(ruleset: int, rule: PathRule, handled: int) -> None:
    try:
        parent = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        access = rule.access & handled
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            access &= _OF_A_FILE
        syscalls.syscall(
            f"landlock_add_rule {rule.path}",
            syscalls.LANDLOCK_ADD_RULE,
            ruleset,
            _RULE_PATH_BENEATH,
            path_beneath_attr(access, parent),
            0,
        )
    finally:
        os.close(parent)
