"""Live output for clients that stream: chunks on the prediction's own subject. Hints: the row has it all at the end."""

import asyncio
from typing import Final

from tidemill.contracts import events, subjects
from tidemill.hosting.child import frames
from tidemill.runtime.bus import Bus, encode
from tidemill.worker.runs.run import Run

WAITING_LIMIT: Final = 10_000  # chunks that wait for the bus; more are dropped, and the row still gets them


class LiveOutput:
    """Publishes chunks in order. `add` never waits."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._streams: set[str] = set()
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(WAITING_LIMIT)

    def enable(self, queue: str) -> None:
        """Publish the chunks of this queue: its output is an iterator, so clients may stream it."""
        self._streams.add(queue)

    def add(self, run: Run, frame: frames.OutputFrame | frames.LogText) -> None:
        if run.queue not in self._streams or self._queue.full():
            return
        if run.seq == 0 and run.job.attempt > 1:
            self._put(run, events.ResetChunk(attempt=run.job.attempt, seq=0))  # takes no number: the next chunk is 0
        self._put(run, _chunk(run, frame))

    def _put(self, run: Run, chunk: events.AnyChunk) -> None:
        if not self._queue.full():
            self._queue.put_nowait((subjects.output(run.job.id), encode(chunk)))

    async def publish(self) -> None:
        """Named task."""
        while True:
            subject, payload = await self._queue.get()
            await self._bus.send_bytes(subject, payload)


def _chunk(run: Run, frame: frames.OutputFrame | frames.LogText) -> events.AnyChunk:
    seq = run.next_seq()
    if isinstance(frame, frames.OutputFrame):
        return events.OutputChunk(attempt=run.job.attempt, seq=seq, value=frame.value)
    return events.LogsChunk(attempt=run.job.attempt, seq=seq, text=frame.text)
