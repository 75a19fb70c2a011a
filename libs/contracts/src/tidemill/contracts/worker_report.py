"""What a worker tells operators of itself: kept as JSON in its row, read by `tidemill worker status`."""

import msgspec


class LayerReport(msgspec.Struct, frozen=True, kw_only=True):
    """A layer of the sandbox as this machine gives it; `detail` says by what means, or why not."""

    name: str
    on: bool
    required: bool
    detail: str


class InstanceReport(msgspec.Struct, frozen=True, kw_only=True):
    """`boot` is in seconds by phase; what is not known yet is null."""

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
    """Model files on disk; `found` and `made` count boots since the worker began, by whether all lay there."""

    size_bytes: int
    limit_bytes: int
    found: int = 0
    made: int = 0


class WorkerReport(msgspec.Struct, frozen=True, kw_only=True):
    user: str  # "root", whose children get uids of their own, or "ordinary user"
    model_network: str
    capacity: int  # instances
    draining: bool
    layers: list[LayerReport]
    instances: list[InstanceReport]
    cache: CacheReport
    memory_counted: str | None = None  # why memory may hide from its limits; None where none may
