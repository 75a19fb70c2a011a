"""PostgreSQL's data outside the stack's directory: root's directory that the account of PostgreSQL can reach.

Beside each data directory lies a file that names its stack's directory. Data are deleted on request, or if the stack's
directory was a temporary one and does not exist any more; any other missing one may be on a disk that is not mounted.
"""

import secrets
import shutil
import tempfile
from pathlib import Path

import psutil

from tidemill.stack.processes.process import ProcessStartError

# /var/tmp serves only where /var/lib cannot be written: some systems age its files away.
PARENTS = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - what is made there is root's or the account's alone
NAME = "tidemill"


def parent() -> Path:
    """Return the directory, which everybody can enter and only root can write. Raise ProcessStartError."""
    for place in PARENTS:
        path = place / NAME
        try:
            path.mkdir(exist_ok=True)
            if path.is_symlink() or path.stat().st_uid != 0:
                continue
            path.chmod(0o755)
        except OSError:
            continue
        return path
    raise ProcessStartError(f"root can make a directory for PostgreSQL in none of {', '.join(map(str, PARENTS))}")


def claim(home: Path) -> Path:
    """Return a new path for the data of this home. Also delete the data of temporary homes that are gone."""
    place = parent()
    prune(place)
    path = place / f"data-{secrets.token_hex(8)}"
    _marker(path).write_text(str(home))
    return path


def release(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    _marker(path).unlink(missing_ok=True)


def prune(place: Path) -> None:
    for marker in place.glob("data-*.home"):
        try:
            home = Path(marker.read_text())
        except FileNotFoundError:  # another stack's start has deleted it in the meantime
            continue
        path = marker.with_suffix("")
        if home.is_relative_to(tempfile.gettempdir()) and not home.exists() and not _in_use(path):
            release(path)


def _in_use(path: Path) -> bool:
    try:
        return psutil.pid_exists(int((path / "pgdata" / "postmaster.pid").read_text().split("\n", 1)[0]))
    except (FileNotFoundError, ValueError):
        return False


def _marker(path: Path) -> Path:
    return path.with_name(f"{path.name}.home")
