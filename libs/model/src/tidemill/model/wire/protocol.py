"""The wire between a worker and a model child: the one place that defines it.

Two AF_UNIX stream socket pairs per child. *data* carries both directions; *control* carries worker to child only, so
that a cancel never queues behind work. A frame is a 4-byte big-endian length and that many bytes of JSON with a type
in "t". File descriptors travel on *data* with SCM_RIGHTS, first in, first out, one for each entry of a frame's
"files". The worker treats every byte from a child as hostile; a frame that breaks these rules poisons the instance.

Worker to child on data:
    boot     {entry, dir, tmp, weights, concurrency, mode, train_entry, site, secrets}   once, first; see spec.Boot
    run      {id, input, context, alone}             file inputs are local paths by now; alone: not in a batch
    check    {}                                      only when nothing runs, to a child that has a healthcheck
Worker to child on control (for a synchronous model followed by SIGUSR1):
    cancel   {id}
    stop     {}                                      finish what runs, then exit 0
Child to worker on data:
    way_out  {files}                                 before anything of the model's has run: a listening socket
    ready    {schema, concurrency, batch, healthcheck, phases, layers}
                                                     schema (OpenAPI) only in mode "inspect"; phases: ms by name;
                                                     layers: of the sandbox, [{name, on, detail}];
                                                     batch: one call takes up to `concurrency` predictions
    running  {ids}                                   what the next call is for; only with batch
    health   {error}                                 the answer to `check`; error null when it is well
    failed   {error, kind}                           kind: "sandbox", "import", "contract" or "setup"
    printed  {}                                      what was written to pipes before it belongs before what follows
    pipe     {ids, standard, files}                  the reading end of a pipe that processes of these predictions
                                                     write to (null: of set-up); standard: that is descriptors 1 and
                                                     2 from here on, and what was there belongs to what ends now
    output   {id, value, files}                      one item of an iterator
    metric   {id, key, value, mode}                  mode is "replace", "incr" or "append"
    done     {id, status, output, files, error, ms, batch}   status "succeeded", "failed", "out_of_memory" (failed
                                                     for lack of it) or "canceled"; ms of predict
                                                     time; batch: how many the call was for, only with batch
What Python code prints goes by a pipe of its own, see printed/wire.py; what C code prints, by descriptors 1 and 2.
"files" is [{pointer, name}]: the JSON pointer inside value or output where the file's URL belongs (null stands there).
The descriptors of a frame have all arrived when its last byte has. What they lead to is the child's choice: the worker
must see a regular file before it reads, and the child may still change the content.
"""

import json
import struct
from collections.abc import Sequence
from typing import Any, Final

FRAME_LIMIT_BYTES: Final = 8 * 1024 * 1024  # a larger output belongs in a file
METRIC_FRAME_LIMIT_BYTES: Final = 512 * 1024  # above what a prediction may keep of all its metrics
FRAME_LIMIT_FILES: Final = 1000  # an output of frames of a video passes; descriptors are scarce on both sides
FILES_LIMIT_PER_MESSAGE: Final = 250  # the kernel takes 253 descriptors at a time (SCM_MAX_FD)
HEADER: Final = struct.Struct(">I")
CHECK: Final = b'{"t":"check"}'  # known by its bytes, as the next two
METRIC: Final = b'{"t":"metric"'  # how such a frame begins
PRINTED: Final = b'{"t":"printed"}'
PIPE_FRAMES: Final = b'{"t":"p'  # how `printed` and `pipe` begin, and nothing else

Frame = dict[str, Any]


# Made once: json.dumps() with arguments of its own builds an encoder each time.
_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class FrameTooLargeError(ValueError):
    """The frame is over FRAME_LIMIT_BYTES."""


def encode(frame: Frame) -> bytes:
    """Length-prefixed bytes of a frame. Raises FrameTooLargeError, or ValueError when it is not strict JSON."""
    body = _to_json(frame).encode("utf-8", "replace")
    if len(body) > FRAME_LIMIT_BYTES:
        raise FrameTooLargeError(f"a message of {len(body)} bytes is over the limit of {FRAME_LIMIT_BYTES}")
    return HEADER.pack(len(body)) + body


def pipe(ids: Sequence[str] | None, *, standard: bool = False) -> Frame:
    owners = None if ids is None else list(ids)
    return {"t": "pipe", "ids": owners, "standard": standard, "files": [{"pointer": "", "name": "pipe"}]}


class FrameDecoder:
    """Cuts a byte stream into frame bodies (still JSON bytes, so that each side decodes with its own tool)."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies completed by `data`. Raises ValueError when a peer announces a frame over the limit."""
        buffer = self._buffer
        buffer += data
        bodies, start = [], 0
        while len(buffer) - start >= HEADER.size:
            (length,) = HEADER.unpack_from(buffer, start)
            if length > FRAME_LIMIT_BYTES:
                raise ValueError(f"a frame of {length} bytes is over the limit of {FRAME_LIMIT_BYTES}")
            end = start + HEADER.size + length
            if len(buffer) < end:
                break
            bodies.append(bytes(buffer[start + HEADER.size : end]))
            start = end
        del buffer[:start]
        return bodies
