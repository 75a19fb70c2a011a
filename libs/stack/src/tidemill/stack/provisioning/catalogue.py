"""The catalogue: a directory of models, and which of them can be pushed on this machine."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

CATALOGUE_ACCOUNT = "tidemill"
# The model that shows that the stack works. It must run, or `up` fails.
FIRST_MODEL = "noop"
COLLECTION_FILE = "COLLECTION.md"
TORCH = re.compile(r"^\s*torch\s*($|[\[<>=!~;@# ])", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A directory of models, each a directory with a cog.yaml."""

    path: Path

    def models(self) -> list[Path]:
        """Return the models, FIRST_MODEL first: it is small, and shows at once if the stack does not work."""
        found = sorted(file.parent for file in self.path.glob("*/cog.yaml"))
        return sorted(found, key=lambda model: model.name != FIRST_MODEL)

    def without_torch(self) -> tuple[list[Path], list[Path]]:
        """Return the models that run without torch, and those that need it."""
        models = self.models()
        others = [model for model in models if needs_torch(model)]
        return [model for model in models if model not in others], others

    def collection(self) -> tuple[Path, list[str]] | None:
        """Return the file of the collection and the models that it names, in its order, or None without a file."""
        file = self.path / COLLECTION_FILE
        if not file.is_file():
            return None
        return file, re.findall(rf"\b{CATALOGUE_ACCOUNT}/[a-z0-9._-]*[a-z0-9]", file.read_text())


def has_torch() -> bool:
    """Return whether torch is installed here, where the worker runs. Models would otherwise download their own copy."""
    return importlib.util.find_spec("torch") is not None


def needs_torch(model: Path) -> bool:
    requirements = model / "requirements.txt"
    return requirements.is_file() and TORCH.search(requirements.read_text()) is not None
