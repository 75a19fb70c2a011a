"""Handles what a booted child sends: logs, output, metrics and ends of runs. It trusts no byte before decoding."""

import os
from collections.abc import Sequence

from tidemill.contracts.prediction import Status
from tidemill.hosting.child.frames import DoneFrame, LogText, MetricFrame, OutputFrame, RunningFrame, decode
from tidemill.model.logs.source_paths import shorten_source_paths
from tidemill.model.wire import protocol
from tidemill.model.wire.text_stream import OwnerIds
from tidemill.runtime.clock import monotonic
from tidemill.runtime.telemetry import log
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.ports import EnginePorts
from tidemill.worker.runs.run import Run, RunFailed, StopReason, too_large
from tidemill.worker.runs.run_ends import RunEnds
from tidemill.worker.runs.run_table import RunTable
from tidemill.worker.runs.run_tasks import RunTasks


class FrameHandler:
    def __init__(self, table: RunTable, ends: RunEnds, tasks: RunTasks, ports: EnginePorts) -> None:
        self._table = table
        self._ends = ends
        self._tasks = tasks
        self._upload = ports.upload
        self._publish_chunk = ports.publish_chunk

    def on_frame(self, instance: Instance, body: bytes) -> None:
        """Raise ValueError or msgspec.DecodeError when the child breaks the protocol: the caller then kills it."""
        if len(body) > protocol.METRIC_FRAME_LIMIT_BYTES and body.startswith(protocol.METRIC):
            raise ValueError(f"a metric of {len(body)} bytes")  # to decode it would hold up all other runs
        frame = decode(body)
        if isinstance(frame, DoneFrame):
            self._on_done(instance, frame)
        elif isinstance(frame, OutputFrame):
            self._on_output(instance, frame)
        elif isinstance(frame, MetricFrame):
            if run := instance.runs.get(frame.id):
                run.add_metric(frame)
        elif isinstance(frame, RunningFrame) and instance.batched:
            instance.called = frozenset(frame.ids)
        else:
            raise ValueError(f"unexpected {type(frame).__name__.removesuffix('Frame')} from a booted child")

    def on_text(self, instance: Instance, ids: OwnerIds, text: str) -> None:
        """Add what Python code or a process of the model printed to the logs of the runs that started it."""
        self._add_log(instance, [run for each in ids or () if (run := instance.runs.get(each))], text)

    def on_output_bytes(self, instance: Instance, data: bytes) -> None:
        """Add what C code in the model's process wrote to the logs of the current run, or of the runs of its call.

        It is added to no run if several run at once: it could be from any of them. Paths of source files, as a crash
        prints them, are shortened.
        """
        self._add_log(instance, _sole_runs(instance), shorten_source_paths(instance.decoded(data)))

    def _add_log(self, instance: Instance, runs: Sequence[Run], text: str) -> None:
        if not runs and text and (left_out := instance.lines.admit(monotonic())) is not None:
            log().info("model", action="log", instance=instance.id, text=text[:1000], left_out=left_out)
        for run in runs:
            kept = run.add_log(text)
            if kept:
                self._publish_chunk(run, LogText(run.job.id, kept))

    def _on_output(self, instance: Instance, frame: OutputFrame) -> None:
        run = instance.runs.get(frame.id)
        fds = _take_fds(instance, len(frame.files))
        if run is None:
            _close(fds)
        elif frame.files or run.is_busy:
            self._tasks.append(run, self._upload_item(run, frame, fds))
        else:
            self._add_item(run, frame)

    async def _upload_item(self, run: Run, frame: OutputFrame, fds: list[int]) -> None:
        try:
            value = await self._upload(run, frame.value, frame.files, fds)
        except RunFailed as failure:
            self._ends.stop(run, StopReason(Status.FAILED, str(failure), failure.code))
            return
        self._add_item(run, OutputFrame(frame.id, value))

    def _add_item(self, run: Run, frame: OutputFrame) -> None:
        if run.add_item(bytes(frame.value)):
            self._publish_chunk(run, frame)
        else:
            self._ends.stop(run, too_large())

    def _on_done(self, instance: Instance, frame: DoneFrame) -> None:
        if cut := instance.cut_character():
            self._add_log(instance, _sole_runs(instance), cut)
        fds = _take_fds(instance, len(frame.files))
        run = self._table.take_off(instance, frame, monotonic())
        if run is None:
            _close(fds)
            return
        if frame.batch:
            run.share(frame.batch)
        if fds or run.is_busy:
            self._tasks.append(run, self._upload_and_finish(run, frame, fds))
        else:
            self._ends.finish(run, frame)

    async def _upload_and_finish(self, run: Run, frame: DoneFrame, fds: list[int]) -> None:
        try:
            output = await self._upload(run, frame.output, frame.files, fds)
        except RunFailed as failure:
            self._ends.end(run, run.stop or StopReason(Status.FAILED, str(failure), failure.code))
        else:
            self._ends.finish(run, DoneFrame(frame.id, frame.status, output, [], frame.error, frame.ms))


def _sole_runs(instance: Instance) -> Sequence[Run]:
    """Return the one current run, or the runs of the current batched call; none if several run on their own."""
    runs = instance.sharing() or instance.running()
    return runs if len(runs) == 1 or instance.called else ()


def _take_fds(instance: Instance, count: int) -> list[int]:
    if len(instance.fds) < count:
        raise ValueError("a frame announces files that did not come with it")
    return [instance.fds.popleft() for _ in range(count)]


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
