"""What the engine calls on, as one struct: tests pass made-up parts, and runs import nothing of what is behind it."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from tidemill.hosting.child.frames import FileRef, Log, Output
from tidemill.runtime.billing import Tariff
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.run import Run
from tidemill.worker.runs.run_writer import RunWriter

# Makes a job's input ready for the child: reads it from its row when it was too large for the job, and brings files.
Prepare = Callable[[Instance, Run], Awaitable[bytes]]
# Replaces the files of a value by the URLs they were uploaded to.
Upload = Callable[[Run, msgspec.Raw, Sequence[FileRef], list[int]], Awaitable[msgspec.Raw]]
Chunk = Callable[[Run, Output | Log], None]  # live output for those who stream
Say = Callable[[Run, str], None]  # a line of ours for a run's logs


def _never() -> bool:
    return False


class EnginePorts(msgspec.Struct, frozen=True, kw_only=True):
    """`needs_preparation` tells, at no cost, whether there is something to `prepare`."""

    records: RunWriter
    needs_preparation: Callable[[str], bool]
    tariff: Callable[[str], Tariff | None]
    prepare: Prepare
    upload: Upload
    discard_inputs: Callable[[Run], None]
    chunk: Chunk
    uploads_behind: Callable[[], bool] = _never
