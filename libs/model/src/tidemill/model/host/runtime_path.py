"""The path by which a zygote finds this package and `cog`."""

from pathlib import Path
from typing import Final

import cog

_PACKAGE: Final = Path(__file__).resolve().parents[1]  # tidemill.model


def make_runtime_path(directory: Path) -> str:
    """A directory for PYTHONPATH with `tidemill.model` and `cog` and nothing else of the worker's own environment."""
    namespace = directory / "tidemill"
    namespace.mkdir(parents=True, exist_ok=True)
    for link, target in ((namespace / "model", _PACKAGE), (directory / "cog", Path(cog.__file__).resolve().parent)):
        if not link.is_symlink() or link.readlink() != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    return str(directory)
