"""A JSON file of what one directory keeps between runs: ports, generated secrets, tokens.

Only its owner can read it. It is replaced as a whole on every change, so a crash leaves the old or the new one. It must
have a single writer, which holds the directory. Ports that it returns stay reserved as long as the object lives.
"""

import json
import os
import secrets
from pathlib import Path

from tidemill.stack.processes.ports import PortReservations
from tidemill.stack.processes.process import ProcessStartError

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
        """Return 64 hexadecimal characters, generated at the first call for this key."""
        known = self.text(key)
        if known is None:
            known = secrets.token_hex(SECRET_BYTES)
            self.put(key, known)
        return known

    def remembered_port(self, key: str) -> int | None:
        value = self._values.get(key)
        return value if isinstance(value, int) else None

    def port(self, key: str) -> int:
        """Reserve and return the port stored under this key, or a new free one, which is then stored."""
        remembered = self.remembered_port(key)
        if remembered is not None and self._reservations.take(remembered):
            return remembered
        taken = {value for value in self._values.values() if isinstance(value, int)}
        return self._stored(key, self._reservations.choose(avoid=taken))

    def port_from(self, key: str, first: int) -> int:
        """Like `port`, but a new port is the next free one above the stored one or, if none is stored, from `first`."""
        wanted = self.remembered_port(key) or first
        had = self._reservations.take(wanted)
        return self._stored(key, wanted if had else self._reservations.first_free_from(wanted + 1))

    def take_port(self, key: str, port: int) -> bool:
        """Reserve and store this port. Return False if it is taken."""
        if not self._reservations.take(port):
            return False
        self.put(key, port)
        return True

    def _stored(self, key: str, port: int) -> int:
        self.put(key, port)
        return port


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step. At no time can anybody but its owner read it."""
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
        raise ProcessStartError(f"{path} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise ProcessStartError(f"{path} cannot be read: it holds no object")
    return {str(key): value for key, value in values.items() if isinstance(value, str | int)}
