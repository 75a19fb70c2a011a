"""Runs a program that creates sockets in /tmp with a private /tmp.

`python private_tmp.py DIRECTORY KEPT PROGRAM ARGUMENT…`: DIRECTORY becomes /tmp. The paths of the real /tmp that the
program needs (KEPT, separated by `:`) stay in place. If the kernel allows no mounts, the sockets lie in the real /tmp,
and only their owner can connect to them.
"""

import ctypes
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

TMP: Final = Path("/tmp")  # noqa: S108 - the directory that is replaced
OWNER_ONLY: Final = 0o077
# linux/sched.h and linux/mount.h
CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWUSER: Final = 0x1000_0000
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 1 << 18


def command(directory: Path, kept: Iterable[Path], argv: Sequence[str]) -> list[str]:
    """Return the command line that runs `argv` with a private /tmp, under the same process id."""
    kept_there = ":".join(str(path) for path in kept)
    # Run as a file, without site-packages: importing its package would take longer than the program's start.
    return [sys.executable, "-I", "-S", __file__, str(directory), kept_there, *argv]


def main(arguments: Sequence[str]) -> None:
    directory, kept, *argv = arguments
    os.umask(OWNER_ONLY)
    places = Path(directory), [Path(path) for path in kept.split(":") if path]
    if _is_allowed(*places):
        replace(*places)
    os.execv(argv[0], argv)  # noqa: S606 - the object server's own command line


def _is_allowed(directory: Path, kept: Sequence[Path]) -> bool:
    """Return whether `replace` works, tried in a child process: a failure halfway would leave unusable namespaces."""
    child = os.fork()
    if child == 0:
        try:
            replace(directory, kept)
        except OSError as error:
            print(f"no private {TMP}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def replace(directory: Path, kept: Sequence[Path]) -> None:
    """Make `directory` the /tmp of this process. Raise OSError if that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    _check(libc.unshare(CLONE_NEWNS | (CLONE_NEWUSER if uid else 0)))
    if uid:  # a new user namespace, in which the user and group ids stay the same
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    _mount(libc, None, Path("/"), MS_REC | MS_PRIVATE)
    for path in kept:
        if path.is_relative_to(TMP):
            place = directory / path.relative_to(TMP)
            place.mkdir(parents=True, exist_ok=True)
            _mount(libc, path, place, MS_BIND | MS_REC)
    _mount(libc, directory, TMP, MS_BIND | MS_REC)


def _mount(libc: ctypes.CDLL, source: Path | None, target: Path, flags: int) -> None:
    _check(libc.mount(os.fsencode(source) if source else None, os.fsencode(target), None, flags, None))


def _check(status: int) -> None:
    if status:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(sys.argv[1:])
