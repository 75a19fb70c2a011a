"""The writable working directory of an instance, made from the files of its version, which stay unchanged.

Small files are copied. Weights are symbolic links to the read-only originals, so that instances share their pages in
memory and a boot copies little. It never makes hard links: the model could write to the original through them.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

COPIED_FILE_LIMIT_BYTES: Final = 1024 * 1024  # code, settings, vocabularies; larger files are weights or data
COPIED_LIMIT_BYTES: Final = 64 * 1024 * 1024  # per instance; takes a few tens of milliseconds
COPIED_FILES_LIMIT: Final = 2_000  # per instance; further files become links, which cost a third of a copy
_DIRECTORY_MODE: Final = 0o755
_FILE_MODE: Final = 0o644


@dataclass
class _CopyAllowance:
    """How many files and bytes may still be copied."""

    files: int
    bytes: int

    def takes(self, size: int) -> bool:
        if size > min(COPIED_FILE_LIMIT_BYTES, self.bytes) or not self.files:
            return False
        self.files -= 1
        self.bytes -= size
        return True


def make(source: Path, target: Path, owner: int | None = None) -> None:
    """Make `target`, which must not exist, from the files of `source`. All of it belongs to the uid `owner`.

    Blocking. Raise OSError. Files near the top are copied first, before the limits are reached.
    """
    allowance = _CopyAllowance(COPIED_FILES_LIMIT, COPIED_LIMIT_BYTES)
    waiting = [(os.fspath(source.resolve()), os.fspath(target))]
    while waiting:
        origin, place = waiting.pop(0)
        os.mkdir(place, _DIRECTORY_MODE)  # noqa: PTH102  os.path throughout: there may be many files
        with os.scandir(origin) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{place}/{entry.name}"))
                else:
                    _add(entry, f"{place}/{entry.name}", allowance, owner)
        _give(place, owner)


def _add(entry: "os.DirEntry[str]", place: str, allowance: _CopyAllowance, owner: int | None) -> None:
    status = entry.stat()
    if allowance.takes(status.st_size):
        shutil.copyfile(entry.path, place)
        os.chmod(place, _FILE_MODE | status.st_mode & 0o111)  # noqa: PTH101
        os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        os.symlink(entry.path, place)  # noqa: PTH211
    _give(place, owner)


def _give(place: str, owner: int | None) -> None:
    if owner is not None:
        os.chown(place, owner, owner, follow_symlinks=False)
