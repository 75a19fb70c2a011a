"""Files in an output: which values are files, and how each becomes a regular file with a name.

It opens and copies only what the model itself returned. A text is never taken for a path.
"""

import io
import os
import pathlib
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from typing import Any, Final

from tidemill.model.errors.contract import OutputError

UNNAMED: Final = "file"  # what Cog calls a file object that has no name


@dataclass(frozen=True)
class FileRef:
    """A file of an output. `pointer` (RFC 6901) is where its URL belongs; a null stands there in the value."""

    pointer: str
    name: str
    path: str
    source: Any = field(default=None, repr=False, compare=False)  # keeps a temporary file alive


def is_file_object(value: Any) -> bool:
    """Whether `value` is an open (or closed) file; wrappers such as `tempfile`'s are no `io.IOBase`."""
    if isinstance(value, io.IOBase):
        return True
    return callable(getattr(value, "read", None)) and callable(getattr(value, "seek", None))


def from_path(pointer: str, value: Any) -> FileRef:
    """Raises OutputError when there is no regular file at the path."""
    path = os.fsdecode(value)
    try:
        mode = pathlib.Path(path).stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"the output names the file {path!r}, which cannot be read: {reason}") from None
    if not stat.S_ISREG(mode):
        raise OutputError(f"the output names {path!r}, which is not a regular file")
    return FileRef(pointer, pathlib.PurePath(path).name, path, value)


def from_file_object(pointer: str, value: Any) -> FileRef:
    """A file on disk is taken where it lies; any other is read from its start into a temporary file."""
    path = _path_on_disk(value)
    if path is not None:
        return FileRef(pointer, pathlib.PurePath(path).name, path, value)
    if getattr(value, "closed", False):
        raise OutputError("the output holds a closed file, whose content is gone; return it open, or return a Path")
    name = getattr(value, "name", None)
    kept = pathlib.PurePath(name).name if isinstance(name, str) else ""
    return FileRef(pointer, kept or UNNAMED, _spill(value), value)


def _path_on_disk(value: Any) -> str | None:
    """The path of an open file that other processes can open too; None for memory, pipes and unlinked files."""
    name = getattr(value, "name", None)
    if not isinstance(name, (str, bytes)):
        return None
    path = pathlib.Path(os.fsdecode(name)).absolute()
    try:
        if not value.closed:
            value.flush()
            if not os.path.samestat(os.fstat(value.fileno()), path.stat()):
                return None
        return str(path) if path.is_file() else None
    except (OSError, ValueError, AttributeError):
        return None


def _spill(value: Any) -> str:
    """Copies what can be read to a temporary file and returns its path."""
    try:
        if value.seekable():
            value.seek(0)
        first = value.read()
    except (OSError, ValueError, AttributeError) as error:
        raise OutputError(f"the output holds a file that cannot be read: {error}") from error
    content = first.encode("utf-8", "replace") if isinstance(first, str) else first
    with tempfile.NamedTemporaryFile(prefix="output-", delete=False) as destination:
        shutil.copyfileobj(io.BytesIO(content), destination)
    return destination.name
