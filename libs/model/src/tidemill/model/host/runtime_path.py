"""The directory on PYTHONPATH in which a zygote finds this package and `cog`."""

from pathlib import Path
from typing import Final

import cog

_PACKAGE: Final = Path(__file__).resolve().parents[1]  # tidemill.model


def make_runtime_path(directory: Path) -> str:
    """Fill the directory with links to `tidemill.model` and `cog`, and to no other package of the worker."""
    namespace = directory / "tidemill"
    namespace.mkdir(parents=True, exist_ok=True)
    for link, target in ((namespace / "model", _PACKAGE), (directory / "cog", Path(cog.__file__).resolve().parent)):
        if not link.is_symlink() or link.readlink() != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    return str(directory)
