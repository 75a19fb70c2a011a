"""The units that run, as the supervisor last wrote them for `status` and for a second `up`. It holds no secrets."""

import json
from pathlib import Path
from typing import Literal

import msgspec

from tidemill.stack.home.state_file import write_private

Phase = Literal["starting", "ready", "stopping"]


class UnitStatus(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    kind: Literal["server", "service"]
    where: str
    pid: int | None
    started_at: float | None  # seconds since the epoch
    restarts: int
    ready_url: str | None = None  # services only


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    pid: int
    phase: Phase
    port: int
    base_url: str
    given: list[str]  # variables that name the operator's own servers
    parts: list[UnitStatus]
    renews: bool = False  # whether a second `up` can ask this supervisor for a rolling update


def write(path: Path, snapshot: Snapshot) -> None:
    write_private(path, json.dumps(msgspec.to_builtins(snapshot), indent=1) + "\n")


def read(path: Path) -> Snapshot | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Snapshot)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
