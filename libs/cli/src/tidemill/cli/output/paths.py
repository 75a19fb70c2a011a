"""Chooses where the files of one prediction's output are saved."""

from pathlib import Path


class OutputPaths:
    """Paths below `folder`. Existing files are overwritten; files of the same prediction get different names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: set[Path] = set()

    def reserve(self, name: str) -> Path:
        path, number = self._folder / name, 1
        while path in self._taken:
            path = self._folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
            number += 1
        self._taken.add(path)
        return path
