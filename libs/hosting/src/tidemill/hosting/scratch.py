"""A directory for what is half done, on the file system where it ends up by a rename once it is whole.

Each process has its own, marked by a lock that dies with it; what dead processes left is removed at the next start.
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
    """Blocking calls throughout; use as a context manager, from a thread where an event loop runs."""

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
        """A path in it that does not exist yet."""
        return self._directory / secrets.token_hex(8)

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        """A fresh directory, removed at the end."""
        path = self.fresh()
        path.mkdir()
        try:
            yield path
        finally:
            remove_tree(path)

    def discard(self, path: Path) -> None:
        """Takes a file or directory of the same file system out of sight at once, and then away."""
        doomed = self.fresh()
        try:
            path.rename(doomed)
        except FileNotFoundError:
            return
        remove_tree(doomed)

    def _remove_leftovers(self) -> None:
        for lock in self._parent.glob("*.lock"):
            held = _locked(lock, create=False)
            if held is None:
                continue  # its process lives
            remove_tree(lock.with_suffix(""))
            lock.unlink(missing_ok=True)
            os.close(held)


def _locked(path: Path, *, create: bool) -> int | None:
    """A descriptor that holds the lock file until it is closed; None when another process has it or took it away."""
    try:
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0) | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between opening and locking, another start may have taken the file for a leftover.
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def remove_tree(path: Path) -> None:
    """Removes a file or directory, also with read-only directories in it; what is missing is fine."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for directory, _, _ in os.walk(path):  # top down: a directory is opened before it is listed
        with contextlib.suppress(FileNotFoundError):
            Path(directory).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
