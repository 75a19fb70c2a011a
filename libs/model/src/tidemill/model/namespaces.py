"""Namespaces of one child: a network with nothing in it, own System V IPC, own /tmp and /dev/shm, sockets hidden.

As root they are simply unshared; an ordinary user first unshares a user namespace, which the kernel allows a process
with one thread. Nothing here runs after the model's first line.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tidemill.model import syscalls

_COMMON_TMP: Final = ("/tmp", "/var/tmp")  # noqa: S108  these are what is replaced


def unshare(*, network: bool = True, mounts: bool = True) -> None:
    """New namespaces, of the network, of mounts and IPC, all or none. Raises OSError where the system forbids them."""
    apart = (syscalls.CLONE_NEWNET if network else 0) | (syscalls.CLONE_NEWNS | syscalls.CLONE_NEWIPC if mounts else 0)
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        syscalls.unshare(apart)
        return
    syscalls.unshare(apart | syscalls.CLONE_NEWUSER)
    # The kernel wants one writer in this order: without "deny" an ordinary user may not map a group.
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")


def mount_private(tmp: str, masked: Iterable[str], kept: Sequence[str], shared_memory_bytes: int) -> None:
    """Inside a mount namespace: /dev/shm of its own, `tmp` in place of /tmp, nothing in place of `masked`.

    A directory that holds one of the `kept` paths stays as it is: Landlock guards it. Raises OSError.
    """
    # "slave", not "private": what the operator unmounts outside goes away in here too.
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
    guarded = syscalls.MS_NOSUID | syscalls.MS_NODEV
    if os.path.isdir("/dev/shm"):  # noqa: PTH112, S108  the mount point itself
        syscalls.mount("shm", "/dev/shm", "tmpfs", guarded, f"size={shared_memory_bytes},mode=1777")  # noqa: S108
    for directory in coverable(_COMMON_TMP, kept):
        syscalls.mount(tmp, directory, None, syscalls.MS_BIND)
    for directory in coverable(masked, kept):
        syscalls.mount("masked", directory, "tmpfs", guarded | syscalls.MS_RDONLY, "size=4k,mode=555")


def coverable(directories: Iterable[str], kept: Sequence[str]) -> list[str]:
    """Those that exist (their real paths, each once) and hold none of the `kept` paths."""
    found: list[str] = []
    needed = [os.path.realpath(path) for path in kept]
    for directory in map(os.path.realpath, directories):
        covers = any(path == directory or path.startswith(f"{directory.rstrip('/')}/") for path in needed)
        if os.path.isdir(directory) and not covers and directory not in found:  # noqa: PTH112  strings throughout
            found.append(directory)
    return found
