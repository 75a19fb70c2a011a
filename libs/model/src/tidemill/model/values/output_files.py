"""Files in an output: which values are files, and how each becomes a named regular file.

It opens and copies only files that the model returned. A text is never taken for a path.
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

UNNAMED: Final = "file"  # Cog's name for a file object without a name


@dataclass(frozen=True)
class OutputFile:
    """A file of an output. `pointer` (RFC 6901) is the place of its URL; the value has a null there."""

    pointer: str
    name: str
    path: str
    source: Any = field(default=None, repr=False, compare=False)  # keeps a temporary file alive


def is_file_object(value: Any) -> bool:
    """Return whether `value` is a file object, open or closed. Wrappers such as `tempfile`'s are no `io.IOBase`."""
    if isinstance(value, io.IOBase):
        return True
    return callable(getattr(value, "read", None)) and callable(getattr(value, "seek", None))


def from_path(pointer: str, value: Any) -> OutputFile:
    """Raise OutputError if there is no regular file at the path."""
    path = os.fsdecode(value)
    try:
        mode = pathlib.Path(path).stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"the output names the file {path!r}, which cannot be read: {reason}") from None
    if not stat.S_ISREG(mode):
        raise OutputError(f"the output names {path!r}, which is not a regular file")
    return OutputFile(pointer, pathlib.PurePath(path).name, path, value)


def from_file_object(pointer: str, value: Any) -> OutputFile:
    """Refer to a file on disk by its path; read any other from its start into a temporary file."""
    path = _path_on_disk(value)
    if path is not None:
        return OutputFile(pointer, pathlib.PurePath(path).name, path, value)
    if getattr(value, "closed", False):
        raise OutputError("the output holds a closed file, whose content is gone; return it open, or return a Path")
    name = getattr(value, "name", None)
    kept = pathlib.PurePath(name).name if isinstance(name, str) else ""
    return OutputFile(pointer, kept or UNNAMED, _copy_to_disk(value), value)


def _path_on_disk(value: Any) -> str | None:
    """Return the path of an open file on disk, None for memory, pipes and unlinked files."""
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


def _copy_to_disk(value: Any) -> str:
    """Copy the content to a temporary file and return its path."""
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
