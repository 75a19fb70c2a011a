"""What a zygote needs to know of a child before the fork, and the `boot` frame that says what the child runs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tidemill.model.sandbox.settings import Sandbox


@dataclass(frozen=True)
class ChildSpec:
    """`env` is the child's environment, without what environment.complete() adds. It must hold no secrets: it stays in
    the memory of the zygote, which children that are forked later inherit.
    """

    sandbox: Sandbox
    env: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None  # of torch and OpenMP; None: their own default, one per core

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ChildSpec":
        return cls(Sandbox.from_json(value["sandbox"]), value["env"], value["threads"])

    def to_json(self) -> dict[str, Any]:
        return {"sandbox": self.sandbox.to_json(), "env": dict(self.env), "threads": self.threads}


@dataclass(frozen=True)
class BootFrame:
    """The `boot` frame. `entry` is "file.py:Name"; `mode` is "predict", "train" or "inspect"."""

    entry: str
    directory: str
    tmp: str
    mode: str = "predict"
    weights: str | None = None
    concurrency: int | None = None  # None: as the model declares
    train_entry: str | None = None  # for the schema
    tell_schema: bool = False  # with `ready` in mode "predict", if the version's schema is a guess
    # Sent after the fork, so that no other child sees them.
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    site: str | None = None  # directory of the model's own packages, which precede those of the zygote's interpreter

    def to_frame(self) -> dict[str, Any]:
        members = asdict(self)
        members["dir"] = members.pop("directory")
        return {"t": "boot", **members}

    @classmethod
    def from_frame(cls, frame: Mapping[str, Any]) -> "BootFrame":
        members = {key: value for key, value in frame.items() if key not in {"t", "dir"}}
        return cls(directory=frame["dir"], **members)
