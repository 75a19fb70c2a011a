"""File types: `Path` and `File`, and the lazy `URLPath` and `URLFile` for files that are not fetched yet.

The platform passes local paths to a model. Nothing here fetches a URL unless the model asks for it; then the sandbox
limits the network.
"""

import io
import mimetypes
import pathlib
import posixpath
import shutil
import sys
import tempfile
import urllib.parse
import urllib.request
from typing import Any, Final

from cog._pydantic import Validated

FILENAME_LIMIT_BYTES: Final = 200  # file systems allow 255; the rest is for the prefix of a temporary file
FETCH_TIMEOUT_S: Final = 10.0  # a server that hangs must not block a prediction for ever
URI_SCHEMA: Final = {"type": "string", "format": "uri"}


class Path(Validated, pathlib.PosixPath):
    """A file on disk, as input or output."""

    _json_schema = URI_SCHEMA

    @classmethod
    def validate(cls, value: Any) -> pathlib.Path:
        """Return a path unchanged, or a `URLPath` for a URL. Raise ValueError for any other text."""
        if isinstance(value, pathlib.Path):
            return value
        return URLPath(source=value, filename=get_filename(value), fileobj=File.validate(value))


class File(Validated, io.IOBase):
    """Deprecated by Cog in favour of `Path`: an open binary file."""

    _json_schema = URI_SCHEMA

    @classmethod
    def validate(cls, value: Any) -> Any:
        """Return a file object unchanged. Open a `data:` URL now, an HTTP URL at the first read."""
        if isinstance(value, io.IOBase):
            return value
        scheme = urllib.parse.urlparse(value).scheme
        if scheme == "data":
            with urllib.request.urlopen(value) as response:  # noqa: S310 - the scheme is data
                return io.BytesIO(response.read())
        if scheme in {"http", "https"}:
            return URLFile(value)
        raise ValueError(f"{scheme!r} is not a URL scheme that can be read; use data, http or https")


class URLFile(io.RawIOBase):
    """The body of an HTTP URL, requested at the first read. It is pickled as its URL."""

    def __init__(self, url: str) -> None:
        parsed = urllib.parse.urlparse(url)
        if parsed.scheme not in {"http", "https"}:
            raise ValueError("URLFile takes an http or https URL")
        self.url = url
        self.name = posixpath.basename(parsed.path)
        self._response: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._response is None:
            self._response = urllib.request.urlopen(self.url, timeout=FETCH_TIMEOUT_S)  # noqa: S310 - checked above
        chunk = self._response.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        if getattr(self, "_response", None) is not None:
            self._response.close()
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["url"])  # type: ignore[misc]  # an unpickled file starts at the beginning

    def __repr__(self) -> str:
        return f"URLFile({self.url!r})"


class URLPath(pathlib.PosixPath):
    """A path for a URL: `convert()` writes `fileobj` to a temporary file. Its text is the URL."""

    def __new__(cls, **named: Any) -> "URLPath":  # noqa: PYI034 - typing.Self needs Python 3.11
        return super().__new__(cls, named["filename"])

    def __init__(self, *, source: str, filename: str, fileobj: Any) -> None:
        if sys.version_info >= (3, 12):
            super().__init__(filename)
        self.source = source
        self.filename = filename
        self.fileobj = fileobj
        self._converted: Path | None = None

    def convert(self) -> Path:
        if self._converted is None:
            with tempfile.NamedTemporaryFile(suffix=self.filename, delete=False) as destination:
                shutil.copyfileobj(self.fileobj, destination)
            self._converted = Path(destination.name)
        return self._converted

    def unlink(self, missing_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - pathlib's signature
        if self._converted is not None:
            self._converted.unlink(missing_ok=missing_ok)

    def with_segments(self, *segments: Any) -> pathlib.Path:
        return pathlib.Path(*segments)

    def __str__(self) -> str:
        return getattr(self, "source", "") or super().__str__()  # before 3.12 derived paths have no source


def get_filename(url: str) -> str:
    """Return a file name for a URL, at most FILENAME_LIMIT_BYTES long, without separators."""
    parsed = urllib.parse.urlparse(url)
    if parsed.scheme == "data":
        media_type = parsed.path.partition(",")[0].partition(";")[0]
        return "file" + (mimetypes.guess_extension(media_type) or "")
    name = urllib.parse.unquote_plus(posixpath.basename(parsed.path))
    return _shorten(name).replace("\0", "_").replace("/", "_")


def _shorten(name: str) -> str:
    """Cut the stem, mark the cut with a tilde and keep the extension."""
    if len(name.encode()) <= FILENAME_LIMIT_BYTES:
        return name
    stem, extension = posixpath.splitext(name)
    kept = stem.encode()[: max(0, FILENAME_LIMIT_BYTES - len(extension.encode()) - 1)].decode(errors="ignore")
    return (kept + "~" + extension).encode()[:FILENAME_LIMIT_BYTES].decode(errors="ignore")
