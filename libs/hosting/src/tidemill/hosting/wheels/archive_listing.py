"""Reads a wheel's list of files without the wheel: from a local file, or by HTTP range requests.

A list that cannot be read is no error here: `quota` limits what is written.
"""

import http.client
import io
import struct
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tidemill.contracts.limits import KIB, MIB
from tidemill.hosting.wheels.limits import WHEEL_LIMIT_FILES, Wheel, WheelContents

TAIL_BYTES: Final = 128 * KIB  # holds the list of a thousand files, so that most wheels need one request
LISTING_LIMIT_BYTES: Final = 16 * MIB  # for one list: 100,000 files of 150 bytes each
REQUEST_WITHIN_S: Final = 30.0  # for one range; a slower server counts as unreadable
_CHUNK_BYTES: Final = 64 * KIB
_UNREADABLE: Final = (
    OSError,  # and urllib's subclasses
    http.client.HTTPException,
    zipfile.BadZipFile,
    struct.error,
    ValueError,
    NotImplementedError,
)

Fetch = Callable[[int, int], bytes]  # returns the bytes from `start` up to `stop`


class ListingTooLong(Exception):  # noqa: N818 - named after the situation
    """The list of files is longer than any allowed wheel's."""


def parse_lock(lock: bytes) -> list[Wheel]:
    """Return the wheels that a pylock.toml (PEP 751) installs. Raise ValueError for a malformed one."""
    wheels = []
    for package in tomllib.loads(lock.decode()).get("packages", []):
        for file in (*package.get("wheels", ()), *(package[key] for key in ("archive", "sdist") if key in package)):
            url = file.get("url") or Path(file["path"]).absolute().as_uri()
            wheels.append(Wheel(package["name"], package.get("version", ""), url, file.get("size")))
    return wheels


def read_contents(url: str) -> WheelContents | None:
    """Return the sizes that the archive declares, or None if its list cannot be read. Blocking.

    Raise ListingTooLong.
    """
    try:
        archive = _local(url) if url.startswith("file:") else _remote(url)
        if archive is None:
            return None
        with zipfile.ZipFile(archive) as listed:
            entries = listed.infolist()
    except _UNREADABLE:
        return None
    return WheelContents(archive.size, sum(entry.file_size for entry in entries), len(entries))


class _RangeReader(io.RawIOBase):
    """A file that is read in ranges. `tail` is known already."""

    def __init__(self, fetch: Fetch, size: int, tail: bytes = b"") -> None:
        self.size = size
        self._fetch = fetch
        self._tail = tail
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise OSError("before the start")
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        stop = self.size if size is None or size < 0 else min(self._at + size, self.size)
        if stop - self._at > LISTING_LIMIT_BYTES:
            raise ListingTooLong(f"its list of files is longer than that of {WHEEL_LIMIT_FILES:,} files")
        known_from = self.size - len(self._tail)
        start, self._at = self._at, max(stop, self._at)
        if start >= known_from:
            return self._tail[start - known_from : stop - known_from]
        return self._fetch(start, stop) if start < stop else b""


def _local(url: str) -> _RangeReader:
    path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path))

    def fetch(start: int, stop: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    return _RangeReader(fetch, path.stat().st_size)


def _remote(url: str) -> _RangeReader | None:
    if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
        return None
    answered = _fetch_range(url, f"-{TAIL_BYTES}")
    if answered is None:
        return None
    tail, size = answered

    def fetch(start: int, stop: int) -> bytes:
        found = _fetch_range(url, f"{start}-{stop - 1}")
        if found is None or len(found[0]) != stop - start:
            raise OSError("the server served another range")
        return found[0]

    return _RangeReader(fetch, size, tail)


def _fetch_range(url: str, wanted: str) -> tuple[bytes, int] | None:
    """Return the bytes and the size of the whole file, or None if the server supports no ranges."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={wanted}", "Accept-Encoding": "identity"})  # noqa: S310 - checked
    deadline = time.monotonic() + REQUEST_WITHIN_S
    with urllib.request.urlopen(request, timeout=REQUEST_WITHIN_S) as response:  # noqa: S310 - the same
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            return None
        size = int(response.headers["Content-Range"].rpartition("/")[2])
        return _read(response, deadline), size


def _read(response: Any, deadline: float) -> bytes:
    data = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        data += chunk
        if len(data) > LISTING_LIMIT_BYTES or time.monotonic() > deadline:
            raise OSError("too much, or too slow")
    return bytes(data)
