"""What a child may say, as strict structs: every byte from a child is hostile, and what does not decode poisons it.

The wire is defined in `tidemill.model.protocol`.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw

FILES_LIMIT: Final = 1000  # file descriptors that one frame may announce


class FileRef(msgspec.Struct, frozen=True):
    """A file whose URL belongs at `pointer` (RFC 6901) in the value; its descriptor comes in the same order."""

    pointer: Annotated[str, Meta(max_length=1024)]
    name: Annotated[str, Meta(max_length=1024)]


Files = Annotated[list[FileRef], Meta(max_length=FILES_LIMIT)]


class Ready(msgspec.Struct, frozen=True, tag_field="t", tag="ready"):
    concurrency: Annotated[int, Meta(ge=1, le=1024)] = 1
    schema: Raw = Raw(b"null")
    phases: dict[str, float] = {}


class Failed(msgspec.Struct, frozen=True, tag_field="t", tag="failed"):
    error: str
    kind: str


class Log(msgspec.Struct, frozen=True, tag_field="t", tag="log"):
    id: str | None
    text: str


class Output(msgspec.Struct, frozen=True, tag_field="t", tag="output"):
    id: str
    value: Raw
    files: Files = []


class Metric(msgspec.Struct, frozen=True, tag_field="t", tag="metric"):
    id: str
    key: Annotated[str, Meta(max_length=128)]
    value: Raw
    mode: Literal["replace", "incr", "append"] = "replace"


class Done(msgspec.Struct, frozen=True, tag_field="t", tag="done"):
    id: str
    status: Literal["succeeded", "failed", "out_of_memory", "canceled"]
    output: Raw = Raw(b"null")
    files: Files = []
    error: str | None = None
    ms: float = 0.0


ChildFrame = Ready | Failed | Log | Output | Metric | Done
decode: Final = msgspec.json.Decoder(ChildFrame).decode


def run_frame(prediction_id: str, input_json: bytes, traceparent: str | None = None) -> bytes:
    """The body of a run frame around an input that stays bytes. The id is ours: it needs no escaping.

    The model reads the trace context as `cog.current_scope().context["traceparent"]`.
    """
    context = msgspec.json.encode({"traceparent": traceparent}) if traceparent else b"{}"
    return b'{"t":"run","id":"%s","input":%s,"context":%s}' % (prediction_id.encode(), input_json, context)
