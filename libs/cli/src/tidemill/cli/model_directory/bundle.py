"""The files of a model directory: which belong to it, and their digests."""

import hashlib
import os
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

import pathspec

from tidemill.cli.errors import CommandError
from tidemill.contracts.api.pushes import BundleFile

ALWAYS_LEFT_OUT = (".git/", ".hg/", "__pycache__/", ".venv/", ".cog/", ".tidemill/", ".DS_Store")
CHUNK_BYTES = 1024 * 1024
CONFIG = "cog.yaml"  # belongs to a model whatever is left out


def files_of(directory: Path) -> list[BundleFile]:
    """Regular files below `directory` but those that .dockerignore names. Raises CommandError for links."""
    return [_file(directory, path) for path in paths_of(directory)]


def paths_of(directory: Path) -> list[str]:
    """The same without their digests, sorted. Raises CommandError."""
    if not (directory / CONFIG).is_file():
        raise CommandError(f'{directory} has no {CONFIG}; one line will do: predict: "predict.py:Predictor"')
    paths = sorted(_walk(directory))
    for path in paths:
        if (directory / path).is_symlink() or not (directory / path).is_file():
            raise CommandError(
                f"{path} is a link or no regular file; a model may hold regular files only: put the file itself there, "
                "or name it in .dockerignore"
            )
    return paths


def _walk(directory: Path) -> Iterator[str]:
    left_out = _left_out(directory / ".dockerignore")
    for folder, folders, names in os.walk(directory):
        here = Path(folder)
        relative = here.relative_to(directory)
        # One that is left out may hold what an exception names.
        folders[:] = [name for name in folders if left_out.has_exceptions or not left_out(f"{_of(relative, name)}/")]
        for name in [*names, *(name for name in folders if (here / name).is_symlink())]:
            path = _of(relative, name)
            if path == CONFIG or not left_out(path):
                yield path


def _of(folder: Path, name: str) -> str:
    return (folder / name).as_posix()


class _LeftOut:
    """By .dockerignore, whose last pattern that matches decides, and by what never belongs to a model."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.has_exceptions = any(pattern.startswith("!") for pattern in patterns)
        self._spec = pathspec.GitIgnoreSpec.from_lines([*ALWAYS_LEFT_OUT, *map(_anchored, patterns)])

    def __call__(self, path: str) -> bool:
        return self._spec.match_file(path)


def _left_out(ignore: Path) -> _LeftOut:
    try:
        lines = ignore.read_text(encoding="utf-8-sig").splitlines() if ignore.is_file() else []
    except ValueError:
        raise CommandError(f"{ignore} is not UTF-8") from None
    return _LeftOut([line.strip() for line in lines if line.strip() and not line.startswith("#")])


def _anchored(pattern: str) -> str:
    """In git's spelling: Docker's patterns begin at the root, where git's `data` means one in any folder."""
    sign = "!" if pattern.startswith("!") else ""
    path = posixpath.normpath(pattern.removeprefix("!").strip()).lstrip("/")
    return "" if path == "." else f"{sign}/{path}"


def _file(directory: Path, path: str) -> BundleFile:
    file = directory / path
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
        status = file.stat()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None
    return BundleFile(
        path=path, sha256=digest.hexdigest(), size=status.st_size, executable=bool(status.st_mode & 0o100)
    )


def chunks_of(directory: Path, file: BundleFile) -> Iterator[bytes]:
    """The content that was looked at before. Raises CommandError when the file has become longer, shorter or none."""
    left = file.size
    try:
        with (directory / file.path).open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    break
                yield chunk
    except OSError as error:
        raise CommandError(f"{file.path} cannot be read: {error.strerror}") from None
    if left:
        raise CommandError(f"{file.path} changed while it was pushed")
