"""Sends the results of predictions: output frames with their files, and exactly one `done` frame each.

The child opens each file and sends the descriptor, so that the worker never opens a path that a model chose.
"""

import os
import stat
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from tidemill.model.errors import exceptions
from tidemill.model.errors.contract import OutputError
from tidemill.model.introspection.shapes import Shape
from tidemill.model.serving import sent_files
from tidemill.model.values.encode import OutputFile, encode_output
from tidemill.model.values.outcomes import FAILED, ModelOutcome
from tidemill.model.wire import protocol
from tidemill.model.wire.channel import Channel

# O_NONBLOCK: if the file was replaced by a pipe, open() must not block.
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class ResultSender:
    """Queues the frames of predictions on the channel. The caller flushes."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._sent: dict[str, list[str]] = {}  # paths by prediction

    def put_item(self, prediction: str, value: Any, shape: Shape | None) -> None:
        """Queue one item of an iterator. Raise as of_value, and OutputError if the item is too large for a frame.

        Its files are copied: a model may write the next item to the same path while the worker reads this one.
        """
        output, files = encode_output(value, shape)
        frame = {"t": "output", "id": prediction, "value": output, "files": _listed(files)}
        self._put(prediction, frame, files, copied=True)

    def put_done(self, prediction: str, outcome: ModelOutcome, elapsed_ms: float, batch: int = 0) -> None:
        self._channel.put_printed()
        try:
            self._put(prediction, _done(prediction, outcome, elapsed_ms, batch), outcome.files)
        except OutputError as error:
            failed = ModelOutcome(FAILED, error=exceptions.describe(error))
            self._channel.put(_done(prediction, failed, elapsed_ms, batch))
        paths = self._sent.pop(prediction, None)
        if paths is not None:
            sent_files.delete(paths, written_after=time.time() - elapsed_ms / 1000)

    def _put(
        self, prediction: str, frame: protocol.Frame, files: Sequence[OutputFile], *, copied: bool = False
    ) -> None:
        descriptors = _open_all(files, _open_copy if copied else _open) if files else ()
        try:
            self._channel.put(frame, descriptors)
        except ValueError as error:
            for descriptor in descriptors:
                os.close(descriptor)
            raise OutputError(f"the output cannot be sent: {error}; return a file instead") from None
        if files:
            self._sent.setdefault(prediction, []).extend(file.path for file in files)


def _done(prediction: str, outcome: ModelOutcome, elapsed_ms: float, batch: int) -> protocol.Frame:
    frame: protocol.Frame = {
        "t": "done",
        "id": prediction,
        "status": outcome.status,
        "output": outcome.output,
        "files": _listed(outcome.files),
        "error": outcome.error,
        "ms": round(elapsed_ms, 3),
    }
    if batch:
        frame["batch"] = batch
    return frame


def _listed(files: Sequence[OutputFile]) -> list[dict[str, str]]:
    return [{"pointer": file.pointer, "name": file.name} for file in files]


def _open_all(files: Sequence[OutputFile], open_one: Callable[[OutputFile], int]) -> list[int]:
    if len(files) > protocol.FRAME_LIMIT_FILES:
        raise OutputError(
            f"the output holds {len(files)} files, over the limit of {protocol.FRAME_LIMIT_FILES}; "
            "yield them one by one or return an archive"
        )
    opened: list[int] = []
    try:
        for file in files:
            opened.append(open_one(file))  # noqa: PERF401  the list must be complete when one fails
    except OutputError:
        for descriptor in opened:
            os.close(descriptor)
        raise
    return opened


def _open_copy(file: OutputFile) -> int:
    original = _open(file)
    try:
        with tempfile.TemporaryFile(buffering=0) as copy:
            left = os.fstat(original).st_size
            while left > 0 and (copied := os.sendfile(copy.fileno(), original, None, left)):
                left -= copied
            copy.seek(0)
            return os.dup(copy.fileno())
    except OSError as error:
        raise OutputError(
            f"the output names the file {file.path!r}, which cannot be copied: {error.strerror}"
        ) from None
    finally:
        os.close(original)


def _open(file: OutputFile) -> int:
    try:
        descriptor = os.open(file.path, _OPEN_FLAGS)
    except OSError as error:
        raise OutputError(f"the output names the file {file.path!r}, which cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OutputError(f"the output names {file.path!r}, which is not a regular file")
    return descriptor
