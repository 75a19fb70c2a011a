"""What a zygote is told about a child before the fork; what the child is to run follows as the `boot` frame."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tidemill.model.sandbox.settings import Sandbox


@dataclass(frozen=True)
class ChildSpec:
    """`env` is the child's whole environment but for what environment.complete() adds. No secrets: the memory of a
    zygote, and so of the children it forks later, has seen it.
    """

    sandbox: Sandbox
    env: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None  # of torch and OpenMP; None leaves their own choice, one per core

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
    concurrency: int | None = None  # None: what the model declares
    train_entry: str | None = None  # for the schema
    tell_schema: bool = False  # with `ready` in mode "predict": the version's own was a guess
    # Only here, past the fork: no other child ever sees them.
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    site: str | None = None  # the model's own packages; they come before those that the zygote's interpreter has

    def to_frame(self) -> dict[str, Any]:
        members = asdict(self)
        members["dir"] = members.pop("directory")
        return {"t": "boot", **members}

    @classmethod
    def from_frame(cls, frame: Mapping[str, Any]) -> "BootFrame":
        members = {key: value for key, value in frame.items() if key not in {"t", "dir"}}
        return cls(directory=frame["dir"], **members)
