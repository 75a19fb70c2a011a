"""The files of a model's directory: which ones belong to the model, and their digests."""

import hashlib
import os
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

import pathspec

from tidemill.cli.errors import CommandError
from tidemill.contracts.api.pushes import BundleFile

ALWAYS_IGNORED = (".git/", ".hg/", "__pycache__/", ".venv/", ".cog/", ".tidemill/", ".DS_Store")
CHUNK_BYTES = 1024 * 1024
CONFIG = "cog.yaml"  # always part of the model, whatever .dockerignore says


def list_files(directory: Path) -> list[BundleFile]:
    """Return the files of `directory` with digests, without those that .dockerignore excludes. Raise CommandError."""
    return [_file(directory, path) for path in list_paths(directory)]


def list_paths(directory: Path) -> list[str]:
    """Return their paths, sorted. Raise CommandError for links and for a directory without cog.yaml."""
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
    ignored = _read_ignore_rules(directory / ".dockerignore")
    for folder, folders, names in os.walk(directory):
        here = Path(folder)
        relative = here.relative_to(directory)
        # An excluded folder must be searched if the patterns have exceptions (`!`).
        folders[:] = [name for name in folders if ignored.has_exceptions or not ignored(f"{_of(relative, name)}/")]
        for name in [*names, *(name for name in folders if (here / name).is_symlink())]:
            path = _of(relative, name)
            if path == CONFIG or not ignored(path):
                yield path


def _of(folder: Path, name: str) -> str:
    return (folder / name).as_posix()


class _IgnoreRules:
    """The patterns of .dockerignore, of which the last match decides, and what never belongs to a model."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.has_exceptions = any(pattern.startswith("!") for pattern in patterns)
        self._spec = pathspec.GitIgnoreSpec.from_lines([*ALWAYS_IGNORED, *map(_anchored, patterns)])

    def __call__(self, path: str) -> bool:
        return self._spec.match_file(path)


def _read_ignore_rules(ignore: Path) -> _IgnoreRules:
    try:
        lines = ignore.read_text(encoding="utf-8-sig").splitlines() if ignore.is_file() else []
    except ValueError:
        raise CommandError(f"{ignore} is not UTF-8") from None
    return _IgnoreRules([line.strip() for line in lines if line.strip() and not line.startswith("#")])


def _anchored(pattern: str) -> str:
    """Return Docker's pattern in git's syntax: Docker's start at the root, git's `data` matches in any folder."""
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


def read_chunks(directory: Path, file: BundleFile) -> Iterator[bytes]:
    """Yield the content of a file that was listed before. Raise CommandError if its size has changed or it is gone."""
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
