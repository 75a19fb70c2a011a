"""What booted children say: logs, output, metrics and ends of runs. Every byte is hostile until it is decoded.

It collects what a run produces; what an end means is the engine's matter.
"""

import os
from collections.abc import Sequence
from typing import Protocol

from tidemill.contracts.prediction import Status
from tidemill.hosting.child.frames import Done, Log, Metric, Output, Running, decode
from tidemill.model.logs.source_paths import shorten_source_paths
from tidemill.model.wire import protocol
from tidemill.model.wire.text_stream import OwnerIds
from tidemill.runtime.clock import monotonic
from tidemill.runtime.telemetry import log
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.ports import EnginePorts
from tidemill.worker.runs.run import Run, RunFailed, StopReason, too_large
from tidemill.worker.runs.run_tasks import RunTasks


class Runs(Protocol):
    """What becomes of runs by what is heard."""

    def off(self, instance: Instance, frame: Done) -> Run | None: ...
    def finish(self, run: Run, frame: Done) -> None: ...
    def end(self, run: Run, stop: StopReason) -> None: ...
    def stop(self, run: Run, stop: StopReason) -> None: ...


class FrameHandler:
    def __init__(self, runs: Runs, chores: RunTasks, ports: EnginePorts) -> None:
        self._runs = runs
        self._chores = chores
        self._upload = ports.upload
        self._chunk = ports.chunk

    def on_frame(self, instance: Instance, body: bytes) -> None:
        """Raises ValueError or msgspec.DecodeError when the child breaks the rules: its caller then kills it."""
        if len(body) > protocol.METRIC_FRAME_LIMIT_BYTES and body.startswith(protocol.METRIC):
            raise ValueError(f"a metric of {len(body)} bytes")  # to decode it would take the others' time
        frame = decode(body)
        if isinstance(frame, Done):
            self._on_done(instance, frame)
        elif isinstance(frame, Output):
            self._on_output(instance, frame)
        elif isinstance(frame, Metric):
            if run := instance.runs.get(frame.id):
                run.add_metric(frame)
        elif isinstance(frame, Running) and instance.batched:
            instance.called = frozenset(frame.ids)
        else:
            raise ValueError(f"unexpected {type(frame).__name__} from a booted child")

    def on_text(self, instance: Instance, ids: OwnerIds, text: str) -> None:
        """What Python code or a process of the model's prints, for those that started it; set-up is over here."""
        self._add_log(instance, [run for each in ids or () if (run := instance.runs.get(each))], text)

    def on_output_bytes(self, instance: Instance, data: bytes) -> None:
        """What C code of the model's process writes: it counts to the run that is on, or to those of its call, and to
        none where it could be one of several. A crash leaves the places in source files where it happened.
        """
        self._add_log(instance, _on_alone(instance), shorten_source_paths(instance.decoded(data)))

    def _add_log(self, instance: Instance, runs: Sequence[Run], text: str) -> None:
        if not runs and text and (left_out := instance.lines.admit(monotonic())) is not None:
            log().info("model", action="log", instance=instance.id, text=text[:1000], left_out=left_out)
        for run in runs:
            kept = run.add_log(text)
            if kept:
                self._chunk(run, Log(run.job.id, kept))

    def _on_output(self, instance: Instance, frame: Output) -> None:
        run = instance.runs.get(frame.id)
        fds = _take(instance, len(frame.files))
        if run is None:
            _close(fds)
        elif frame.files or run.busy:
            self._chores.then(run, self._upload_item(run, frame, fds))
        else:
            self._add_item(run, frame)

    async def _upload_item(self, run: Run, frame: Output, fds: list[int]) -> None:
        try:
            value = await self._upload(run, frame.value, frame.files, fds)
        except RunFailed as refused:
            self._runs.stop(run, StopReason(Status.FAILED, str(refused), refused.code))
            return
        self._add_item(run, Output(frame.id, value))

    def _add_item(self, run: Run, frame: Output) -> None:
        if run.add_item(bytes(frame.value)):
            self._chunk(run, frame)
        else:
            self._runs.stop(run, too_large())

    def _on_done(self, instance: Instance, frame: Done) -> None:
        if cut := instance.cut_character():
            self._add_log(instance, _on_alone(instance), cut)
        fds = _take(instance, len(frame.files))
        run = self._runs.off(instance, frame)
        if run is None:
            _close(fds)
            return
        if frame.batch:
            run.share(frame.batch)
        if fds or run.busy:
            self._chores.then(run, self._upload_and_end(run, frame, fds))
        else:
            self._runs.finish(run, frame)

    async def _upload_and_end(self, run: Run, frame: Done, fds: list[int]) -> None:
        try:
            output = await self._upload(run, frame.output, frame.files, fds)
        except RunFailed as refused:
            self._runs.end(run, run.stop or StopReason(Status.FAILED, str(refused), refused.code))
        else:
            self._runs.finish(run, Done(frame.id, frame.status, output, [], frame.error, frame.ms))


def _on_alone(instance: Instance) -> Sequence[Run]:
    runs = instance.sharing() or instance.running()
    return runs if len(runs) == 1 or instance.called else ()


def _take(instance: Instance, count: int) -> list[int]:
    if len(instance.fds) < count:
        raise ValueError("a frame announces files that did not come with it")
    return [instance.fds.popleft() for _ in range(count)]


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
