"""A directory for unfinished files, on the file system where a rename makes them final.

Each process has its own, marked by a lock file; the kernel releases the lock when the process ends. Directories of dead
processes are removed at the next start.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Self


class Scratch:
    """Use as a context manager. All calls block: run them in a thread beside an event loop."""

    def __init__(self, home: Path) -> None:
        self._parent = home / "scratch"
        self._lock: int | None = None
        self._directory = self._parent

    def __enter__(self) -> Self:
        self._parent.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        while self._lock is None:
            name = secrets.token_hex(8)
            self._lock = _locked(self._parent / f"{name}.lock", create=True)
            self._directory = self._parent / name
        self._directory.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        remove_tree(self._directory)
        self._directory.with_name(f"{self._directory.name}.lock").unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def fresh(self) -> Path:
        """Return a path inside it that does not exist yet."""
        return self._directory / secrets.token_hex(8)

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        """Yield a new directory and remove it at the end."""
        path = self.fresh()
        path.mkdir()
        try:
            yield path
        finally:
            remove_tree(path)

    def discard(self, path: Path) -> None:
        """Remove a file or directory of the same file system: rename it away first, so that it disappears at once."""
        trash = self.fresh()
        try:
            path.rename(trash)
        except FileNotFoundError:
            return
        remove_tree(trash)

    def _remove_leftovers(self) -> None:
        for lock in self._parent.glob("*.lock"):
            descriptor = _locked(lock, create=False)
            if descriptor is None:
                continue  # its process is alive
            remove_tree(lock.with_suffix(""))
            lock.unlink(missing_ok=True)
            os.close(descriptor)


def _locked(path: Path, *, create: bool) -> int | None:
    """Return a descriptor that holds the lock until closed, or None if another process holds or removed the file."""
    try:
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0) | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another process may have removed the file between open and flock: compare inodes.
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def remove_tree(path: Path) -> None:
    """Remove a file or directory, also with read-only directories in it. A missing path is no error."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for directory, _, _ in os.walk(path):  # top down: a directory becomes readable before it is listed
        with contextlib.suppress(FileNotFoundError):
            Path(directory).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
