"""The protocol between a worker and a model child. Only this module defines it.

Two AF_UNIX stream socket pairs per child. *data* carries both directions; *control* carries worker to child only, so
that a cancel never queues behind work. A frame is a 4-byte big-endian length and that many bytes of JSON with a type
in "t". File descriptors travel on *data* with SCM_RIGHTS, first in, first out, one for each entry of a frame's
"files". The worker trusts no byte from a child; a frame that breaks these rules poisons the instance.

Worker to child on data:
    boot     {entry, dir, tmp, weights, concurrency, mode, train_entry, site, secrets}   once, first; see spec.Boot
    run      {id, input, context, alone}             file inputs are local paths; alone: not in a batch
    check    {}                                      only while nothing runs, to a child with a healthcheck
Worker to child on control (for a synchronous model followed by SIGUSR1):
    cancel   {id}
    stop     {}                                      finish what runs, then exit with status 0
Child to worker on data:
    way_out  {files}                                 before any code of the model has run: a listening socket
    ready    {schema, concurrency, batch, healthcheck, phases, layers}
                                                     schema (OpenAPI) only in mode "inspect"; phases: ms by name;
                                                     layers: of the sandbox, [{name, on, detail}];
                                                     batch: one call takes up to `concurrency` predictions
    running  {ids}                                   the predictions of the next call; only with batch
    health   {error}                                 the answer to `check`; error is null if the model is well
    failed   {error, kind}                           kind: "sandbox", "import", "contract" or "setup"
    printed  {}                                      text written to pipes so far comes before the next frames
    pipe     {ids, standard, files}                  the reading end of a pipe to which processes of these
                                                     predictions write (null: of setup); standard: it replaces
                                                     descriptors 1 and 2, and text in the old pipe belongs to the
                                                     predictions that end now
    output   {id, value, files}                      one item of an iterator
    metric   {id, key, value, mode}                  mode is "replace", "incr" or "append"
    done     {id, status, output, files, error, ms, batch}   status "succeeded", "failed", "out_of_memory" (a
                                                     failure with that reason) or "canceled"; ms of predict
                                                     time; batch: size of the call, only with batch
Text from Python code has a pipe of its own, see text_stream.py; text from C code comes by descriptors 1 and 2.
"files" is [{pointer, name}]: the JSON pointer inside value or output where the file's URL belongs (null is there).
All descriptors of a frame have arrived when its last byte has. The child chooses what they refer to: the worker must
check for a regular file before it reads, and the child may still change the content.
"""

import json
import struct
from collections.abc import Sequence
from typing import Any, Final

FRAME_LIMIT_BYTES: Final = 8 * 1024 * 1024  # a larger output belongs in a file
METRIC_FRAME_LIMIT_BYTES: Final = 512 * 1024  # more than the metrics of one prediction may take
FRAME_LIMIT_FILES: Final = 1000  # enough for the frames of a short video; descriptors are scarce on both sides
FILES_LIMIT_PER_MESSAGE: Final = 250  # the kernel takes 253 descriptors at a time (SCM_MAX_FD)
HEADER: Final = struct.Struct(">I")
CHECK: Final = b'{"t":"check"}'  # compared as bytes, without decoding, as the next two
METRIC: Final = b'{"t":"metric"'  # the start of such a frame
PRINTED: Final = b'{"t":"printed"}'
PIPE_FRAMES: Final = b'{"t":"p'  # the start of `printed` and `pipe` frames, and of no other

Frame = dict[str, Any]


# Made once: json.dumps() with arguments builds an encoder on each call.
_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class FrameTooLargeError(ValueError):
    """The frame is over FRAME_LIMIT_BYTES."""


def encode(frame: Frame) -> bytes:
    """Return the length and the frame as bytes. Raise FrameTooLargeError, or ValueError if not strict JSON."""
    body = _to_json(frame).encode("utf-8", "replace")
    if len(body) > FRAME_LIMIT_BYTES:
        raise FrameTooLargeError(f"a message of {len(body)} bytes is over the limit of {FRAME_LIMIT_BYTES}")
    return HEADER.pack(len(body)) + body


def pipe_frame(ids: Sequence[str] | None, *, standard: bool = False) -> Frame:
    owners = None if ids is None else list(ids)
    return {"t": "pipe", "ids": owners, "standard": standard, "files": [{"pointer": "", "name": "pipe"}]}


class FrameDecoder:
    """Cuts a byte stream into frame bodies. They stay JSON bytes: each side has its own decoder."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the bodies that `data` completes. Raise ValueError if a length is over the limit."""
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
