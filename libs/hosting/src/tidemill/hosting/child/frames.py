"""The frames that a child may send, as strict structs. A child is untrusted: it is killed if a frame does not decode.

The wire format is defined in `tidemill.model.wire.protocol`.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw

FILES_LIMIT: Final = 1000  # file descriptors that one frame may announce
RUNS_LIMIT: Final = 1024  # predictions that a child may run at once; more inputs would fill the memory of both sides


class FileRef(msgspec.Struct, frozen=True):
    """A file whose URL belongs at `pointer` (RFC 6901) in the value. Descriptors arrive in the same order."""

    pointer: Annotated[str, Meta(max_length=1024)]
    name: Annotated[str, Meta(max_length=1024)]


Files = Annotated[list[FileRef], Meta(max_length=FILES_LIMIT)]


class ReadyFrame(msgspec.Struct, frozen=True, tag_field="t", tag="ready"):
    concurrency: Annotated[int, Meta(ge=1, le=RUNS_LIMIT)] = 1
    batch: bool = False  # one call takes up to `concurrency` predictions
    healthcheck: bool = False  # the model has a healthcheck()
    schema: Raw = Raw(b"null")
    phases: dict[str, float] = {}


class RunningFrame(msgspec.Struct, frozen=True, tag_field="t", tag="running"):
    """The predictions that the next call of a model under @batch is for."""

    ids: Annotated[list[str], Meta(max_length=RUNS_LIMIT)]


class HealthFrame(msgspec.Struct, frozen=True, tag_field="t", tag="health"):
    error: str | None = None


class FailedFrame(msgspec.Struct, frozen=True, tag_field="t", tag="failed"):
    error: str
    kind: str


class EgressSocketFrame(msgspec.Struct, frozen=True, tag_field="t", tag="way_out"):
    """The listening socket in the child's network namespace, sent before any code of the model runs."""

    files: Annotated[list[FileRef], Meta(min_length=1, max_length=1)]


class LogText(msgspec.Struct, frozen=True):
    """What was printed for one prediction. Not a frame: it comes through pipes."""

    id: str
    text: str


class OutputFrame(msgspec.Struct, frozen=True, tag_field="t", tag="output"):
    id: str
    value: Raw
    files: Files = []


class MetricFrame(msgspec.Struct, frozen=True, tag_field="t", tag="metric"):
    id: str
    key: Annotated[str, Meta(max_length=128)]
    value: Raw
    mode: Literal["replace", "incr", "append"] = "replace"


class DoneFrame(msgspec.Struct, frozen=True, tag_field="t", tag="done"):
    id: str
    status: Literal["succeeded", "failed", "out_of_memory", "canceled"]
    output: Raw = Raw(b"null")
    files: Files = []
    error: str | None = None
    ms: float = 0.0
    batch: Annotated[int, Meta(ge=0, le=RUNS_LIMIT)] = 0  # how many predictions the call was for; 0 without @batch


ChildFrame = (
    EgressSocketFrame | ReadyFrame | RunningFrame | FailedFrame | HealthFrame | OutputFrame | MetricFrame | DoneFrame
)
decode: Final = msgspec.json.Decoder(ChildFrame).decode


def run_frame(prediction_id: str, input_json: bytes, traceparent: str | None = None, *, alone: bool = False) -> bytes:
    """Return the body of a run frame with the input's JSON as it is. The id is our own and needs no escaping.

    `alone` keeps the prediction out of batches. The model reads the trace context as
    `cog.current_scope().context["traceparent"]`.
    """
    context = msgspec.json.encode({"traceparent": traceparent}) if traceparent else b"{}"
    more = b',"alone":true' if alone else b""
    return b'{"t":"run","id":"%s","input":%s,"context":%s%s}' % (prediction_id.encode(), input_json, context, more)


def merged(old: Any, value: Any, mode: str) -> Any:
    """Return the metric after a MetricFrame. `old` is None before the first one. A list is appended to in place."""
    if mode == "append" and isinstance(old, list):
        old.append(value)
        return old
    if mode == "append":
        return [value] if old is None else [old, value]
    if mode == "incr" and isinstance(old, int | float) and isinstance(value, int | float):
        return old + value
    return value
