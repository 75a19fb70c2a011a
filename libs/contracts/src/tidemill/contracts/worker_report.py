"""What a worker reports to operators: stored as JSON in its row, read by `tidemill worker status`."""

import msgspec


class LayerReport(msgspec.Struct, frozen=True, kw_only=True):
    """A layer of the sandbox on this machine. `detail` says how it is provided, or why not."""

    name: str
    on: bool
    required: bool
    detail: str


class InstanceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One instance. `boot` is in seconds by phase; unknown members are null."""

    id: str
    queue: str
    state: str
    model: str | None = None
    version: str | None = None
    trusted: bool = False
    network: bool = False
    slots: int = 1
    running: int = 0
    age_s: float = 0.0
    memory_bytes: int | None = None
    gpus: list[str] = []
    boot: dict[str, float] = {}
    error: str | None = None


class CacheReport(msgspec.Struct, frozen=True, kw_only=True):
    """Model files on disk. `found` and `made` count boots since the worker started: with all files cached, or not."""

    size_bytes: int
    limit_bytes: int
    found: int = 0
    made: int = 0


class WorkerReport(msgspec.Struct, frozen=True, kw_only=True):
    user: str  # "root" (children get their own uids) or "ordinary user"
    model_network: str
    capacity: int  # instances
    draining: bool
    layers: list[LayerReport]
    instances: list[InstanceReport]
    cache: CacheReport
    memory_counted: str | None = None  # why memory may escape its limits; None if it cannot
