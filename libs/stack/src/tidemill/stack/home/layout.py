"""The layout of a stack's directory: data, logs, state, and the lock that its supervisor holds."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

DEFAULT = ".tidemill"
VARIABLE = "TIDEMILL_HOME"


class HomeError(Exception):
    """The directory cannot be used. The message says why and what to do."""


class AlreadyRunningError(Exception):
    """Another supervisor holds the lock of this directory."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"already running (pid {pid})")
        self.pid = pid


@dataclass(frozen=True, slots=True)
class Home:
    path: Path

    @property
    def env_file(self) -> Path:
        return self.path / "env"

    @property
    def state_file(self) -> Path:
        return self.path / "state.json"

    @property
    def snapshot_file(self) -> Path:
        return self.path / "run.json"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    @property
    def log_directory(self) -> Path:
        return self.path / "log"

    @property
    def records(self) -> Path:
        """The directory of process records, one file for each service."""
        return self.path / "services"

    def log(self, name: str) -> Path:
        return self.log_directory / f"{name}.log"

    def data(self, name: str) -> Path:
        return self.path / name

    def prepare(self) -> None:
        """Create the directories, readable by their owner only. Raise HomeError."""
        try:
            self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
            for directory in (self.log_directory, self.records):
                directory.mkdir(mode=0o700, exist_ok=True)
            probe = self.path / ".writable"
            probe.write_text("x")
            probe.unlink()
        except OSError as error:
            raise HomeError(f"cannot write to {self.path}: {error.strerror}; set {VARIABLE} to another place") from None
        owner = self.path.stat().st_uid
        if owner != os.geteuid():
            raise HomeError(f"{self.path} belongs to another user (uid {owner}); run as that user or set {VARIABLE}")

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Hold the lock. The kernel releases it when the process ends, however it ends."""
        with self.lock_file.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunningError(self.owner()) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def owner(self) -> int | None:
        """Return the pid of the supervisor that holds the lock, or None."""
        try:
            with self.lock_file.open("r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    with suppress(ValueError):
                        return int(file.read())
        except (FileNotFoundError, PermissionError):
            return None
        return None


def locate(environ: Mapping[str, str]) -> Home:
    return Home(Path(environ.get(VARIABLE) or DEFAULT).absolute())
