"""What the engine calls on, as one struct: tests pass fakes, and `runs/` imports nothing of what stands behind it."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from tidemill.hosting.child.frames import FileRef, LogText, OutputFrame
from tidemill.runtime.billing import Tariff
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.run import Run
from tidemill.worker.runs.run_writer import RunWriter

# Makes a job's input ready for the child: reads it from its row if it was too large for the job, and fetches its files.
Prepare = Callable[[Instance, Run], Awaitable[bytes]]
# Replaces the files of a value by the URLs they were uploaded to.
Upload = Callable[[Run, msgspec.Raw, Sequence[FileRef], list[int]], Awaitable[msgspec.Raw]]
PublishChunk = Callable[[Run, OutputFrame | LogText], None]  # live output for clients that stream
AddLogLine = Callable[[Run, str], None]  # a line of the platform's own for a run's logs


def _never() -> bool:
    return False


class EnginePorts(msgspec.Struct, frozen=True, kw_only=True):
    """`needs_preparation` says whether inputs of a queue must be prepared; it does no I/O."""

    writer: RunWriter
    needs_preparation: Callable[[str], bool]
    tariff: Callable[[str], Tariff | None]
    prepare: Prepare
    upload: Upload
    discard_inputs: Callable[[Run], None]
    publish_chunk: PublishChunk
    uploads_are_behind: Callable[[], bool] = _never
