"""The interpreters that zygotes run, the worker's own and others, and the directories that each must read."""

import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Final

OWN_VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
OLDEST: Final = (3, 10)  # that the model runtime supports


def own() -> Path:
    """The worker's interpreter with all packages of the worker."""
    return Path(sys.executable)


def own_without_packages() -> Path:
    """The interpreter that the worker's virtual environment was made of."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable)


def minor(version: str) -> tuple[int, ...]:
    """(3, 12) of 3.12 or 3.12.4."""
    return tuple(int(part) for part in version.split(".")[:2])


def own_paths() -> tuple[Path, ...]:
    return real_directories([sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()])


def paths_of(python: Path) -> tuple[Path, ...]:
    """The installation around an interpreter that is no virtual environment: bin, lib and so on lie in it."""
    return real_directories([str(python.resolve().parent.parent)])


def real_directories(paths: Iterable[str]) -> tuple[Path, ...]:
    """Existing directories, each once, without those that lie in another; never the whole file system."""
    real = sorted({Path(path).resolve() for path in paths if path} - {Path("/")})
    return tuple(path for path in real if path.is_dir() and not any(other in path.parents for other in real))
