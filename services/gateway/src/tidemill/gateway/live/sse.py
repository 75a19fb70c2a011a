"""Live output as server-sent events, made from chunks as they arrive, or from the row if chunks are missing. Pure.

Official clients know the event names output, logs, error and done, and fail on any other. An event's id holds the
second in which the prediction was created and the position in its stream: attempt, outputs, characters of logs, steps
of the end. It is the same on every gateway, live or from the row: Last-Event-ID works on any gateway.
"""

import re
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from tidemill.contracts.events import AnyChunk, DoneChunk, LogsChunk, OutputChunk, ResetChunk
from tidemill.contracts.prediction import TERMINAL, Status

Name: TypeAlias = Literal["output", "logs", "error", "done"]
LINE_END: Final = re.compile(r"\r\n|\r|\n")  # the three line ends of the format
EVENT_ID: Final = re.compile(r"\d{1,12}:(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:\.([12]))?")
HEARTBEAT: Final = b": \n\n"
HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # proxies must not buffer events
    "X-Content-Type-Options": "nosniff",
}
ERROR_SENT: Final = 1
DONE_SENT: Final = 2
_REASONS: Final = {Status.FAILED: "error", Status.CANCELED: "canceled", Status.ABORTED: "canceled"}


class StreamPosition(NamedTuple):
    """A position in the stream of a prediction; the fields are in the order of sending."""

    attempt: int = 0
    outputs: int = 0
    logs_chars: int = 0
    ended: int = 0  # ERROR_SENT, DONE_SENT


class SseEvent(msgspec.Struct, frozen=True):
    """One event. A client that has received it is at `position`. `wire` is the encoded event."""

    name: Name
    data: str
    position: StreamPosition
    wire: bytes


class FinalState(msgspec.Struct, frozen=True):
    """The final state of a prediction, from its row; `output` is the decoded JSON."""

    status: Status
    output: Any
    logs: str
    error: str | None
    attempt: int = 1


def encode(name: Name, data: str, position: StreamPosition, second: int) -> bytes:
    lines = "".join(f"data: {line}\n" for line in LINE_END.split(data))
    end = f".{position.ended}" if position.ended else ""
    identifier = f"{second}:{position.attempt}.{position.outputs}.{position.logs_chars}{end}"
    return f"event: {name}\nid: {identifier}\n{lines}\n".encode()


def position_of(last_event_id: str | None) -> StreamPosition:
    """Return the position of a client by its Last-Event-ID; the beginning if there is none or it is invalid."""
    match = EVENT_ID.fullmatch(last_event_id or "")
    return StreamPosition() if match is None else StreamPosition(*(int(number or 0) for number in match.groups()))


def missing_data(event: SseEvent, seen: StreamPosition) -> str | None:
    """Return the part of an event that a client at `seen` lacks: its data, the rest of a log, or None."""
    position = event.position
    if position.attempt != seen.attempt:
        return event.data if position.attempt > seen.attempt else None  # another attempt starts at zero
    if position.ended or seen.ended:
        return event.data if position.ended > seen.ended else None
    if event.name == "output":
        return event.data if position.outputs > seen.outputs else None
    lacking = position.logs_chars - seen.logs_chars
    return event.data[-lacking:] if lacking > 0 else None


def text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def items(output: Any) -> list[str]:
    """Return the data of the output events that a row's output corresponds to."""
    if output is None:
        return []
    return [text(item) for item in output] if isinstance(output, list) else [text(output)]


class Transcript:
    """The events of one prediction so far, made from chunks that may arrive twice, late or never.

    After a lost chunk the rest comes from the row: an output with a gap would be wrong.
    """

    def __init__(self, second: int) -> None:
        """`second` is the unix second in which the prediction was created."""
        self.events: list[SseEvent] = []
        self.size_bytes = 0  # estimate of its size in memory
        self.ended = False
        self._second = second
        self._position = StreamPosition(attempt=1)
        self._next_seq = 0
        self._has_gap = False

    def has_gap_before(self, chunk: AnyChunk) -> bool:
        """Return whether chunks before this one are missing and have not been given up."""
        if self.ended or isinstance(chunk, ResetChunk) or chunk.attempt < self._position.attempt:
            return False
        if chunk.attempt > self._position.attempt:
            return chunk.seq > 0
        return chunk.seq > self._next_seq and not self._has_gap

    def add(self, chunk: AnyChunk) -> None:
        if self.ended or chunk.attempt < self._position.attempt:
            return
        if chunk.attempt > self._position.attempt:
            self._begin(chunk.attempt)
        if isinstance(chunk, ResetChunk):
            return  # the new attempt number is enough: sent events cannot be withdrawn
        if chunk.seq != self._next_seq:
            self._has_gap = self._has_gap or chunk.seq > self._next_seq
            return
        if self._has_gap:
            return
        self._next_seq += 1
        self._add(chunk)

    def _begin(self, attempt: int) -> None:
        self._position = StreamPosition(attempt)
        self._next_seq = 0
        self._has_gap = False

    def _add(self, chunk: OutputChunk | LogsChunk | DoneChunk) -> None:
        if isinstance(chunk, OutputChunk):
            self._output(text(msgspec.json.decode(chunk.value)))
        elif isinstance(chunk, LogsChunk):
            self._logs(chunk.text)
        else:
            self._end(chunk.status, chunk.error)

    def finish(self, final: FinalState) -> None:
        """Add the data of the row that was not sent yet, and the end."""
        if self.ended:
            return
        if final.attempt > self._position.attempt:
            self._begin(final.attempt)
        if logs := final.logs[self._position.logs_chars :]:
            self._logs(logs)
        for item in items(final.output)[self._position.outputs :]:
            self._output(item)
        self._end(final.status, final.error)

    def _output(self, data: str) -> None:
        self._append("output", data, self._position._replace(outputs=self._position.outputs + 1))

    def _logs(self, data: str) -> None:
        self._append("logs", data, self._position._replace(logs_chars=self._position.logs_chars + len(data)))

    def _end(self, status: Status, error: str | None) -> None:
        assert status in TERMINAL, "a stream ends in a terminal state"
        if status is Status.FAILED:
            data = msgspec.json.encode({"detail": error or "Something went wrong"}).decode()
            self._append("error", data, self._position._replace(ended=ERROR_SENT))
        reason = _REASONS.get(status)
        data = msgspec.json.encode({"reason": reason} if reason else {}).decode()
        self._append("done", data, self._position._replace(ended=DONE_SENT))
        self.ended = True

    def _append(self, name: Name, data: str, position: StreamPosition) -> None:
        self._position = position
        wire = encode(name, data, position, self._second)
        self.size_bytes += len(data) + len(wire)
        self.events.append(SseEvent(name, data, position, wire))
