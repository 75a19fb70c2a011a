"""The Python interpreters that zygotes run, and the directories that each must be able to read."""

import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Final

OWN_VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
OLDEST: Final = (3, 10)  # the oldest version that the model runtime supports


def own() -> Path:
    """Return the worker's interpreter, with all packages of the worker."""
    return Path(sys.executable)


def own_without_packages() -> Path:
    """Return the interpreter that the worker's virtual environment is based on."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable)


def minor(version: str) -> tuple[int, ...]:
    """Return (3, 12) for 3.12 or 3.12.4."""
    return tuple(int(part) for part in version.split(".")[:2])


def own_paths() -> tuple[Path, ...]:
    return real_directories([sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()])


def paths_of(python: Path) -> tuple[Path, ...]:
    """Return the installation of an interpreter outside virtual environments: bin, lib and others are in it."""
    return real_directories([str(python.resolve().parent.parent)])


def real_directories(paths: Iterable[str]) -> tuple[Path, ...]:
    """Return existing directories, resolved, without those inside another one; never the root directory."""
    real = sorted({Path(path).resolve() for path in paths if path} - {Path("/")})
    return tuple(path for path in real if path.is_dir() and not any(other in path.parents for other in real))
