"""Which file indexes are valid model bundles: pure rules over (path, size) pairs, checked before any upload.

A valid bundle can be written into an empty directory of any common file system: no file leaves it, and no file
overwrites another. Must never touch a file.
"""

import unicodedata
from collections.abc import Sequence

MAX_FILES = 100_000  # more would be a dataset; bounds the index to a few MiB
MAX_PATH_BYTES = 1_024  # a quarter of Linux's PATH_MAX: leaves room for the directory that it is unpacked in
MAX_COMPONENT_BYTES = 255  # NAME_MAX of every common file system
MAX_DEPTH_COMPONENTS = 32
MAX_FILE_BYTES = 20 * 1024**3  # 20 GiB: the weights of a 70 B model come in shards well under it
MAX_TOTAL_BYTES = 20 * 1024**3  # 20 GiB: what one push may put into the store
ROOT_CONFIG = "cog.yaml"

_SHOWN_CHARS = 120  # of a path in an error message: enough to recognize it


class BundleError(ValueError):
    """The file index is not a valid bundle."""

    def __init__(self, reason: str, path: str | None = None) -> None:
        super().__init__(reason if path is None else f"{reason}: {path[:_SHOWN_CHARS]!r}")
        self.reason = reason
        self.path = path


def check_paths(files: Sequence[tuple[str, int]]) -> None:
    """Raise BundleError at the first file that breaks a rule, in the given order. Sizes are in bytes."""
    if len(files) > MAX_FILES:
        raise BundleError(f"more than {MAX_FILES} files")
    tree = _PathTree()
    total_bytes = 0
    for path, size_bytes in files:
        _check_path(path)
        _check_size(path, size_bytes)
        total_bytes += size_bytes
        if total_bytes > MAX_TOTAL_BYTES:
            raise BundleError(f"the files are larger than {MAX_TOTAL_BYTES} bytes together")
        tree.add(path)
    if ROOT_CONFIG not in tree.files:
        raise BundleError(f"no {ROOT_CONFIG} at the root")


def _check_path(path: str) -> None:
    _check_text(path)
    if path.startswith("/"):
        raise BundleError("the path is absolute", path)
    components = path.split("/")
    if len(components) > MAX_DEPTH_COMPONENTS:
        raise BundleError(f"the path is deeper than {MAX_DEPTH_COMPONENTS} components", path)
    for component in components:
        if component in {"", ".", ".."}:
            raise BundleError("the path has an empty, '.' or '..' component", path)
        if len(component.encode()) > MAX_COMPONENT_BYTES:
            raise BundleError(f"the path has a component longer than {MAX_COMPONENT_BYTES} bytes", path)


def _check_text(path: str) -> None:
    if not path:
        raise BundleError("the path is empty")
    try:
        length_bytes = len(path.encode())
    except UnicodeEncodeError:
        raise BundleError("the path is not valid Unicode", ascii(path)) from None
    if length_bytes > MAX_PATH_BYTES:
        raise BundleError(f"the path is longer than {MAX_PATH_BYTES} bytes", path)
    if "\\" in path:
        raise BundleError("the path has a backslash", path)
    # `isprintable` is fast and false for every control character, but also for harmless unusual spaces.
    if not path.isprintable() and any(unicodedata.category(each) == "Cc" for each in path):
        raise BundleError("the path has a control character", path)


def _check_size(path: str, size_bytes: int) -> None:
    if size_bytes < 0:
        raise BundleError("the size is negative", path)
    if size_bytes > MAX_FILE_BYTES:
        raise BundleError(f"the file is larger than {MAX_FILE_BYTES} bytes", path)


class _PathTree:
    """The directories and files seen so far, to find names that collide on disk.

    Names collide if they are equal after case folding and Unicode normalization, as on macOS and Windows: a bundle must
    be the same on the author's machine and on the worker.
    """

    def __init__(self) -> None:
        self.files: set[str] = set()
        self._directories: set[str] = set()
        self._spellings: dict[str, str] = {}

    def add(self, path: str) -> None:
        if path in self.files:
            raise BundleError("the path is given twice", path)
        if path in self._directories:
            raise BundleError("the path is a file and a directory", path)
        self._claim(path)
        self.files.add(path)
        self._add_directories_of(path)

    def _add_directories_of(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        # The parents of a known directory are known, so the cost is one step per new directory.
        while parent and parent not in self._directories:
            if parent in self.files:
                raise BundleError("the path is a file and a directory", parent)
            self._claim(parent)
            self._directories.add(parent)
            parent = parent.rpartition("/")[0]

    def _claim(self, path: str) -> None:
        if self._spellings.setdefault(_folded(path), path) != path:
            raise BundleError("the path differs from another only in case or Unicode form", path)


def _folded(path: str) -> str:
    if path.isascii():
        return path.lower()
    # Case folding can undo normalization and vice versa: normalizing twice is Unicode's canonical caseless match.
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())
