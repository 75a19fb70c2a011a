"""Reads mutations.toml: which changes of the code some test must notice."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).parent / "mutations.toml"


@dataclass(frozen=True)
class Mutation:
    """`old` becomes `new` in `file`; pytest with `tests` must then fail. `name` is the promise that it breaks."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def occurrences(self, root: Path) -> int:
        """Return how often `old` stands in the file; it must be once."""
        path = root / self.file
        return path.read_text().count(self.old) if path.exists() else 0


def read(path: Path = LIST) -> list[Mutation]:
    listed = tomllib.loads(path.read_text())
    return [
        Mutation(each["name"], each["file"], each["old"], each["new"], tuple(listed["tests"][each["caught_by"]]))
        for each in listed["mutation"]
    ]
