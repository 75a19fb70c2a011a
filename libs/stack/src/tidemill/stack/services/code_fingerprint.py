"""Fingerprints of a service's code, made of the times and sizes of its files without reading them."""

import hashlib
import sys
from pathlib import Path

import tidemill

# The packages of the services. Code outside them is shared by all services.
SERVICES = frozenset({"gateway", "scheduler", "worker", "webhook_dispatcher", "storage_janitor"})
NOT_RUN_BY_SERVICES = frozenset({"stack", "testing", "cli"})
INSTALLED = Path(sys.prefix) / ".tidemill-setup"  # written by deploy/bootstrap.sh after it installed packages


def fingerprint(service: str, program: Path) -> str:
    """Return the fingerprint of the code that a service would run now. `service` is its directory's name."""
    own = service.replace("-", "_")
    left_out = (SERVICES - {own}) | NOT_RUN_BY_SERVICES
    digest = hashlib.sha256()
    for file in [program, INSTALLED, *_sources(left_out)]:
        try:
            found = file.stat()
        except OSError:
            continue
        digest.update(f"{file}\0{found.st_mtime_ns}\0{found.st_size}\0".encode())
    return digest.hexdigest()


def _sources(left_out: frozenset[str]) -> list[Path]:
    places = [Path(place) for place in tidemill.__path__]
    packages = [package for place in places for package in place.iterdir() if package.name not in left_out]
    return sorted(file for package in packages for file in package.rglob("*") if file.suffix in {".py", ".sql"})
