"""Namespaces of one child: an empty network, own System V IPC, own /tmp and /dev/shm, no sockets of others.

Root unshares them directly. An ordinary user unshares a user namespace first, which the kernel allows a process with
one thread. Nothing here runs after the model's first line.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tidemill.model.sandbox import syscalls

_COMMON_TMP: Final = ("/tmp", "/var/tmp")  # noqa: S108  these are what is replaced


def unshare(*, network: bool = True, mounts: bool = True) -> None:
    """Enter new namespaces, for the network and for mounts with IPC, all or none. Raise OSError if forbidden."""
    flags = (syscalls.CLONE_NEWNET if network else 0) | (syscalls.CLONE_NEWNS | syscalls.CLONE_NEWIPC if mounts else 0)
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        syscalls.unshare(flags)
        return
    syscalls.unshare(flags | syscalls.CLONE_NEWUSER)
    # The kernel wants this order: without "deny" an ordinary user may not map a group.
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")


def mount_private(tmp: str, masked: Iterable[str], kept: Mapping[str, bool], shared_memory_bytes: int) -> None:
    """In a mount namespace, mount a new /dev/shm, `tmp` over /tmp, and empty directories over `masked`.

    `kept` maps each path that must stay visible to whether it may be written. Raise OSError.
    """
    # "slave", not "private": what the operator unmounts outside is unmounted in here too.
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
    guarded = syscalls.MS_NOSUID | syscalls.MS_NODEV
    if os.path.isdir("/dev/shm"):  # noqa: PTH112, S108  the mount point itself
        syscalls.mount("shm", "/dev/shm", "tmpfs", guarded, f"size={shared_memory_bytes},mode=1777")  # noqa: S108
    for directory in maskable(_COMMON_TMP, ()):
        if directory in map(os.path.realpath, kept):
            continue
        # They are mounted below `tmp` first and come along with it: if one fails, nothing is covered yet.
        for path, writable in visible_paths(directory, kept).items():
            _bind(path, tmp + path.removeprefix(directory), writable=writable)
        syscalls.mount(tmp, directory, None, syscalls.MS_BIND | syscalls.MS_REC)
    for directory in maskable(masked, list(kept)):
        syscalls.mount("masked", directory, "tmpfs", guarded | syscalls.MS_RDONLY, "size=4k,mode=555")


def _bind(path: str, place: str, *, writable: bool) -> None:
    """Bind `path` at `place`, read-only unless `writable`. Landlock grants what any parent directory grants, and the
    parent is now the child's own writable directory.
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


def visible_paths(directory: str, kept: Mapping[str, bool]) -> dict[str, bool]:
    """Return the `kept` paths below the directory, as real paths, outer ones first. Leave out a path that an outer one
    already shows with the same right to write.
    """
    found: dict[str, bool] = {}
    inside = {os.path.realpath(path): writable for path, writable in kept.items()}
    for path, writable in sorted(inside.items()):
        outer = [shown for shown in found if path.startswith(f"{shown}/")]
        already_shown = bool(outer) and found[outer[-1]] == writable
        if path.startswith(f"{directory}/") and os.path.exists(path) and not already_shown:  # noqa: PTH110
            found[path] = writable
    return found


def maskable(directories: Iterable[str], kept: Sequence[str]) -> list[str]:
    """Return the directories that exist and hold none of the `kept` paths, as real paths, each once."""
    found: list[str] = []
    needed = [os.path.realpath(path) for path in kept]
    for directory in map(os.path.realpath, directories):
        covers = any(path == directory or path.startswith(f"{directory.rstrip('/')}/") for path in needed)
        if os.path.isdir(directory) and not covers and directory not in found:  # noqa: PTH112  strings throughout
            found.append(directory)
    return found
