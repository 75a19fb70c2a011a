"""Namespaces of one child: a network with nothing in it, own System V IPC, own /tmp and /dev/shm, sockets hidden.

As root they are simply unshared; an ordinary user first unshares a user namespace, which the kernel allows a process
with one thread. Nothing here runs after the model's first line.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tidemill.model.sandbox import syscalls

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


def mount_private(tmp: str, masked: Iterable[str], kept: Mapping[str, bool], shared_memory_bytes: int) -> None:
    """Inside a mount namespace: /dev/shm of its own, `tmp` in place of /tmp, nothing in place of `masked`.

    `kept` are the paths that must stay in sight, and whether each may be written. Raises OSError.
    """
    # "slave", not "private": what the operator unmounts outside goes away in here too.
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
    guarded = syscalls.MS_NOSUID | syscalls.MS_NODEV
    if os.path.isdir("/dev/shm"):  # noqa: PTH112, S108  the mount point itself
        syscalls.mount("shm", "/dev/shm", "tmpfs", guarded, f"size={shared_memory_bytes},mode=1777")  # noqa: S108
    for directory in coverable(_COMMON_TMP, ()):
        if directory in map(os.path.realpath, kept):
            continue
        # Made below `tmp` first and moved with it: when one fails, nothing is covered yet.
        for path, writable in islands(directory, kept).items():
            _show(path, tmp + path.removeprefix(directory), writable=writable)
        syscalls.mount(tmp, directory, None, syscalls.MS_BIND | syscalls.MS_REC)
    for directory in coverable(masked, list(kept)):
        syscalls.mount("masked", directory, "tmpfs", guarded | syscalls.MS_RDONLY, "size=4k,mode=555")


def _show(path: str, place: str, *, writable: bool) -> None:
    """`path` at `place` too. Read-only where it may only be read: Landlock grants what any directory above it grants,
    and above it is the child's own one now.
    """
    if os.path.isdir(path):  # noqa: PTH112  strings throughout
        os.makedirs(place, exist_ok=True)  # noqa: PTH103
    else:
        os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120
        Path(place).touch()
    syscalls.mount(path, place, None, syscalls.MS_BIND)
    if not writable:
        flags = syscalls.mount_flags(path)
        syscalls.mount("none", place, None, syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | flags)


def islands(directory: str, kept: Mapping[str, bool]) -> dict[str, bool]:
    """What of `kept` lies in the directory (real paths, outer ones first); without what an outer one shows alike."""
    found: dict[str, bool] = {}
    inside = {os.path.realpath(path): writable for path, writable in kept.items()}
    for path, writable in sorted(inside.items()):
        outer = [shown for shown in found if path.startswith(f"{shown}/")]
        shown_alike = bool(outer) and found[outer[-1]] == writable
        if path.startswith(f"{directory}/") and os.path.exists(path) and not shown_alike:  # noqa: PTH110
            found[path] = writable
    return found


def coverable(directories: Iterable[str], kept: Sequence[str]) -> list[str]:
    """Those that exist (their real paths, each once) and hold none of the `kept` paths."""
    found: list[str] = []
    needed = [os.path.realpath(path) for path in kept]
    for directory in map(os.path.realpath, directories):
        covers = any(path == directory or path.startswith(f"{directory.rstrip('/')}/") for path in needed)
        if os.path.isdir(directory) and not covers and directory not in found:  # noqa: PTH112  strings throughout
            found.append(directory)
    return found
