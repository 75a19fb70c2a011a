"""The settings of a sandbox, the names of its layers, and what is reported of each layer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from tidemill.model.sandbox.limits import ResourceLimits

NETWORK: Final = "network"  # no connections: no TCP, no UDP, no sockets of other processes
FILES: Final = "files"  # only the paths granted
MOUNTS: Final = "mounts"  # /tmp and /dev/shm are the instance's own
IDENTITY: Final = "identity"  # a uid of its own (root workers only)
SIGNALS: Final = "signals"  # no signal leaves the sandbox
SYSCALLS: Final = "syscalls"  # the deny list of seccomp.py
LIMITS: Final = "limits"
LAYERS: Final = (NETWORK, FILES, MOUNTS, IDENTITY, SIGNALS, SYSCALLS, LIMITS)
REQUIRED: Final = (NETWORK, FILES, SIGNALS, SYSCALLS, LIMITS)  # available to root and to an ordinary user


@dataclass(frozen=True)
class Sandbox:
    """The settings of one sandbox. The child may write to `tmp` and `work` only: both must exist and belong to this
    instance alone.
    """

    tmp: str
    work: str | None = None  # the model's working directory, made by working_directory.py
    read: tuple[str, ...] = ()  # model files, environment, inputs: trees that may be read and executed
    devices: tuple[str, ...] = ()  # device files or directories with full access, such as /dev/nvidia0
    masked: tuple[str, ...] = ("/run",)  # directories with sockets of others, hidden when mounts are private
    uid: int | None = None  # also the gid; one per instance; only a worker that is root uses it
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    layers: tuple[str, ...] = LAYERS  # layers to try
    required: tuple[str, ...] = REQUIRED  # layers that must succeed
    way_out: bool = False  # open a listening socket in the network namespace, on which the worker accepts

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Sandbox":
        members: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        members["limits"] = ResourceLimits(**value.get("limits", {}))
        return cls(**members)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class SandboxLayer:
    name: str
    on: bool
    detail: str  # the mechanism, or the reason why it is off

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
