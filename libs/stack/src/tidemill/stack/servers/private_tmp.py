"""Runs a program that insists on sockets in /tmp with a /tmp of its own, which nobody else sees.

`python private_tmp.py DIRECTORY KEPT PROGRAM ARGUMENT…`: DIRECTORY becomes /tmp; what the program needs
of the real one (KEPT, with `:` between) stays where it was. Where the kernel allows no mounts, the sockets lie in the
real /tmp, and only their owner can connect to them.
"""

import ctypes
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

TMP: Final = Path("/tmp")  # noqa: S108 - it is what is replaced
OWNER_ONLY: Final = 0o077
# linux/sched.h and linux/mount.h
CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWUSER: Final = 0x1000_0000
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 1 << 18


def command(directory: Path, kept: Iterable[Path], argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` so; it goes on under the same process id."""
    kept_there = ":".join(str(path) for path in kept)
    # As a file and without site-packages: to import the package around it would take longer than the program's start.
    return [sys.executable, "-I", "-S", __file__, str(directory), kept_there, *argv]


def main(arguments: Sequence[str]) -> None:
    directory, kept, *argv = arguments
    os.umask(OWNER_ONLY)
    places = Path(directory), [Path(path) for path in kept.split(":") if path]
    if _is_allowed(*places):
        replace(*places)
    os.execv(argv[0], argv)  # noqa: S606 - the object server's own command line


def _is_allowed(directory: Path, kept: Sequence[Path]) -> bool:
    """Tried out in another process: half of it done would leave the program in namespaces where little works."""
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
    """Makes `directory` the /tmp of this process. Raises OSError where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    _check(libc.unshare(CLONE_NEWNS | (CLONE_NEWUSER if uid else 0)))
    if uid:  # a user namespace of our own, in which we are who we were
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
