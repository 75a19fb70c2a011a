"""The files of a model directory: which belong to it, and their digests."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pathspec

from tidemill.cli.api import CommandError
from tidemill.contracts.api import BundleFile

ALWAYS_LEFT_OUT = (".git/", ".hg/", "__pycache__/", ".venv/", ".cog/", ".tidemill/", ".DS_Store")
CHUNK_BYTES = 1024 * 1024


def files_of(directory: Path) -> list[BundleFile]:
    """Regular files below `directory` but those that .dockerignore names. Raises CommandError for links."""
    return [_file(directory, path) for path in paths_of(directory)]


def paths_of(directory: Path) -> list[str]:
    """The same without their digests, sorted. Raises CommandError."""
    if not (directory / "cog.yaml").is_file():
        raise CommandError(f"{directory} has no cog.yaml")
    paths = sorted(_walk(directory))
    for path in paths:
        if (directory / path).is_symlink() or not (directory / path).is_file():
            raise CommandError(f"{path} is a link or no regular file; a model may hold regular files only")
    return paths


def _walk(directory: Path) -> Iterator[str]:
    ignore = directory / ".dockerignore"
    patterns = ignore.read_text().splitlines() if ignore.is_file() else []
    left_out = pathspec.GitIgnoreSpec.from_lines([*ALWAYS_LEFT_OUT, *patterns])
    for folder, folders, names in os.walk(directory):
        here = Path(folder)
        relative = here.relative_to(directory)
        folders[:] = [name for name in folders if not left_out.match_file(f"{(relative / name).as_posix()}/")]
        for name in [*names, *(name for name in folders if (here / name).is_symlink())]:
            path = (relative / name).as_posix()
            if not left_out.match_file(path):
                yield path


def _file(directory: Path, path: str) -> BundleFile:
    file = directory / path
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    status = file.stat()
    return BundleFile(
        path=path, sha256=digest.hexdigest(), size=status.st_size, executable=bool(status.st_mode & 0o100)
    )
