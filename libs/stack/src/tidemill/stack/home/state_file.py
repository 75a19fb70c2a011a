"""What one directory remembers between runs: ports, generated secrets, tokens.

A small JSON file, readable by its owner alone and replaced whole on every change, so a crash leaves the old or the
new one. It must have one writer: the holder of the directory. Ports that it gives out stay reserved while it lives.
"""

import json
import os
import secrets
from pathlib import Path

from tidemill.stack.processes.ports import PortReservations
from tidemill.stack.processes.process import StartError

SECRET_BYTES = 32


class StateFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, str | int] = _load(path)
        self._reservations = PortReservations()

    def text(self, key: str) -> str | None:
        value = self._values.get(key)
        return value if isinstance(value, str) else None

    def put(self, key: str, value: str | int) -> None:
        self._values[key] = value
        write_private(self._path, json.dumps(self._values, indent=1, sort_keys=True) + "\n")

    def secret(self, key: str) -> str:
        """64 hex characters, generated the first time they are asked for."""
        known = self.text(key)
        if known is None:
            known = secrets.token_hex(SECRET_BYTES)
            self.put(key, known)
        return known

    def remembered_port(self, key: str) -> int | None:
        value = self._values.get(key)
        return value if isinstance(value, int) else None

    def port(self, key: str) -> int:
        """The port remembered under this key while it is to be had, else a new one that is."""
        remembered = self.remembered_port(key)
        if remembered is not None and self._reservations.take(remembered):
            return remembered
        taken = {value for value in self._values.values() if isinstance(value, int)}
        return self._remembered(key, self._reservations.choose(avoid=taken))

    def port_from(self, key: str, first: int) -> int:
        """As `port`, but a new one is the next above the remembered one, or above `first` when none is remembered."""
        wanted = self.remembered_port(key) or first
        had = self._reservations.take(wanted)
        return self._remembered(key, wanted if had else self._reservations.first_free_from(wanted + 1))

    def take_port(self, key: str, port: int) -> bool:
        """Whether this very port is to be had; then it is the one that is remembered."""
        if not self._reservations.take(port):
            return False
        self.put(key, port)
        return True

    def _remembered(self, key: str, port: int) -> int:
        self.put(key, port)
        return port


def write_private(path: Path, text: str) -> None:
    """Replaces the file in one step; nobody but its owner can read it, not even for a moment."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _load(path: Path) -> dict[str, str | int]:
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StartError(f"{path} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise StartError(f"{path} cannot be read: it holds no object")
    return {str(key): value for key, value in values.items() if isinstance(value, str | int)}
