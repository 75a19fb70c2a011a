"""The settings of a sandbox, the names of its layers, and what is reported of each layer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from tidemill.model.sandbox.limits import ResourceLimits

NETWORK: Final = "network"  # no connection to anything: no TCP, UDP, sockets of other processes
FILES: Final = "files"  # only the paths granted
MOUNTS: Final = "mounts"  # /tmp and /dev/shm are the instance's own
IDENTITY: Final = "identity"  # a uid of its own (root workers only)
SIGNALS: Final = "signals"  # no signal leaves the sandbox
SYSCALLS: Final = "syscalls"  # the deny list of seccomp.py
LIMITS: Final = "limits"
LAYERS: Final = (NETWORK, FILES, MOUNTS, IDENTITY, SIGNALS, SYSCALLS, LIMITS)
REQUIRED: Final = (NETWORK, FILES, SIGNALS, SYSCALLS, LIMITS)  # to be had by root and by an ordinary user alike


@dataclass(frozen=True)
class Sandbox:
    """The settings. `tmp`, and `work` where there is one, are all that the child may write: they must exist, and be
    used by nobody else.
    """

    tmp: str
    work: str | None = None  # the model's working directory, made by working_directory.py
    read: tuple[str, ...] = ()  # model files, environment, inputs: readable and executable with all below
    devices: tuple[str, ...] = ()  # device files or directories with full use, /dev/nvidia0 for one
    masked: tuple[str, ...] = ("/run",)  # hidden where mounts can be private: directories with other people's sockets
    uid: int | None = None  # also the gid; one per instance; used by root only
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    layers: tuple[str, ...] = LAYERS  # what to try
    required: tuple[str, ...] = REQUIRED  # what must succeed
    way_out: bool = False  # the network layer leaves one: a socket that the worker accepts on

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
    detail: str  # by what means, or why not

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
