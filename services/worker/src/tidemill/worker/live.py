"""Live output for those who stream: chunks on the prediction's own subject. Hints: the row has it all in the end."""

import asyncio
from typing import Final

from tidemill.contracts import events, subjects
from tidemill.runtime.bus import Bus, encode
from tidemill.contracts.events import WebhookEvent
from tidemill.worker import frames
from tidemill.worker.run import Run, Stop
from tidemill.contracts.prediction import Status

WAITING_LIMIT: Final = 10_000  # chunks not handed to the bus yet; above it they are dropped, the row has them


class Live:
    """Publishes chunks in order without holding the engine up."""

    def __init__(self, bus: Bus, streams: dict[str, bool]) -> None:
        self._bus = bus
        self._streams = streams  # queues whose output is an iterator
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(WAITING_LIMIT)

    def chunk(self, run: Run, frame: frames.ChildFrame | Stop | None, status: Status | None = None) -> None:
        """An output or log frame; a Stop or None with the status when the run has ended."""
        if not (self._streams.get(run.queue) or run.job.webhook):
            return
        attempt = run.job.attempt
        if isinstance(frame, frames.Output):
            self._put(run, events.Output(attempt=attempt, seq=run.next_seq(), value=frame.value), "output")
        elif isinstance(frame, frames.Log):
            self._put(run, events.Logs(attempt=attempt, seq=run.next_seq(), text=frame.text), "logs")

    def _put(self, run: Run, chunk: events.AnyChunk, event: str) -> None:
        if self._queue.full():
            return
        if self._streams.get(run.queue):
            self._queue.put_nowait((subjects.output(run.job.id), encode(chunk)))
        if run.job.webhook and run.claimed:
            self._queue.put_nowait((subjects.WEBHOOK, encode(WebhookEvent(id=run.job.id, event=event))))

    async def publish(self) -> None:
        """Named task."""
        while True:
            subject, payload = await self._queue.get()
            await self._bus.send_bytes(subject, payload)
