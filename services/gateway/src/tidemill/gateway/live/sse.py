"""Live output as server-sent events: from chunks as they come, and from the row when there are none. Pure.

Official clients know the event names output, logs, error and done, and fail on any other. An id tells the second in
which the prediction was made, and how far its sender had come: attempt, outputs, characters of logs, and steps of its
end. It is the same on every gateway, live or from the row, so that Last-Event-ID works wherever a client comes back to.
"""

import re
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from tidemill.contracts.events import AnyChunk, DoneChunk, LogsChunk, OutputChunk, ResetChunk
from tidemill.contracts.prediction import TERMINAL, Status

Name: TypeAlias = Literal["output", "logs", "error", "done"]
LINE_END: Final = re.compile(r"\r\n|\r|\n")  # the three that the format knows
EVENT_ID: Final = re.compile(r"\d{1,12}:(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:\.([12]))?")
HEARTBEAT: Final = b": \n\n"
HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # proxies must not collect events
    "X-Content-Type-Options": "nosniff",
}
ERROR_SENT: Final = 1
DONE_SENT: Final = 2
_REASONS: Final = {Status.FAILED: "error", Status.CANCELED: "canceled", Status.ABORTED: "canceled"}


class Place(NamedTuple):
    """How far a client has come; in order of what is sent."""

    attempt: int = 0
    outputs: int = 0
    logs_chars: int = 0
    ended: int = 0  # ERROR_SENT, DONE_SENT


class Sse(msgspec.Struct, frozen=True):
    """One event; whoever has it has come to `place`. `wire` is the event encoded."""

    name: Name
    data: str
    place: Place
    wire: bytes


class Ending(msgspec.Struct, frozen=True):
    """A prediction's row after its end; `output` is the decoded JSON."""

    status: Status
    output: Any
    logs: str
    error: str | None
    attempt: int = 1


def encode(name: Name, data: str, place: Place, second: int) -> bytes:
    lines = "".join(f"data: {line}\n" for line in LINE_END.split(data))
    end = f".{place.ended}" if place.ended else ""
    identifier = f"{second}:{place.attempt}.{place.outputs}.{place.logs_chars}{end}"
    return f"event: {name}\nid: {identifier}\n{lines}\n".encode()


def place_of(last_event_id: str | None) -> Place:
    """Where a client has come to that tells of its last event; the beginning for one that tells of none."""
    match = EVENT_ID.fullmatch(last_event_id or "")
    return Place() if match is None else Place(*(int(number or 0) for number in match.groups()))


def missing(event: Sse, seen: Place) -> str | None:
    """What a client that has come to `seen` lacks of an event: its data, the rest of a log, or None."""
    place = event.place
    if place.attempt != seen.attempt:
        return event.data if place.attempt > seen.attempt else None  # another attempt begins anew
    if place.ended or seen.ended:
        return event.data if place.ended > seen.ended else None
    if event.name == "output":
        return event.data if place.outputs > seen.outputs else None
    lacking = place.logs_chars - seen.logs_chars
    return event.data[-lacking:] if lacking > 0 else None


def text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def items(output: Any) -> list[str]:
    """What a row's output would have been as output events."""
    if output is None:
        return []
    return [text(item) for item in output] if isinstance(output, list) else [text(output)]


class Transcript:
    """The events of one prediction so far, made from chunks that may come twice, late or never.

    Once a chunk is lost the rest comes from the row: an output with a hole would be a wrong one.
    """

    def __init__(self, second: int) -> None:
        """`second` is the unix second in which the prediction was made."""
        self.events: list[Sse] = []
        self.size_bytes = 0  # of what it holds in memory, roughly
        self.ended = False
        self._second = second
        self._place = Place(attempt=1)
        self._next_seq = 0
        self._hole = False

    def lacks_before(self, chunk: AnyChunk) -> bool:
        """Whether chunks before this one are missing that nobody has given up."""
        if self.ended or isinstance(chunk, ResetChunk) or chunk.attempt < self._place.attempt:
            return False
        if chunk.attempt > self._place.attempt:
            return chunk.seq > 0
        return chunk.seq > self._next_seq and not self._hole

    def add(self, chunk: AnyChunk) -> None:
        if self.ended or chunk.attempt < self._place.attempt:
            return
        if chunk.attempt > self._place.attempt:
            self._begin(chunk.attempt)
        if isinstance(chunk, ResetChunk):
            return  # the attempt says it all; what was sent before cannot be taken back
        if chunk.seq != self._next_seq:
            self._hole = self._hole or chunk.seq > self._next_seq
            return
        if self._hole:
            return
        self._next_seq += 1
        self._add(chunk)

    def _begin(self, attempt: int) -> None:
        self._place = Place(attempt)
        self._next_seq = 0
        self._hole = False

    def _add(self, chunk: OutputChunk | LogsChunk | DoneChunk) -> None:
        if isinstance(chunk, OutputChunk):
            self._output(text(msgspec.json.decode(chunk.value)))
        elif isinstance(chunk, LogsChunk):
            self._logs(chunk.text)
        else:
            self._end(chunk.status, chunk.error)

    def finish(self, ending: Ending) -> None:
        """Adds what the row has and was not sent, and the end."""
        if self.ended:
            return
        if ending.attempt > self._place.attempt:
            self._begin(ending.attempt)
        if logs := ending.logs[self._place.logs_chars :]:
            self._logs(logs)
        for item in items(ending.output)[self._place.outputs :]:
            self._output(item)
        self._end(ending.status, ending.error)

    def _output(self, data: str) -> None:
        self._append("output", data, self._place._replace(outputs=self._place.outputs + 1))

    def _logs(self, data: str) -> None:
        self._append("logs", data, self._place._replace(logs_chars=self._place.logs_chars + len(data)))

    def _end(self, status: Status, error: str | None) -> None:
        assert status in TERMINAL, "only an end ends a stream"
        if status is Status.FAILED:
            data = msgspec.json.encode({"detail": error or "Something went wrong"}).decode()
            self._append("error", data, self._place._replace(ended=ERROR_SENT))
        reason = _REASONS.get(status)
        data = msgspec.json.encode({"reason": reason} if reason else {}).decode()
        self._append("done", data, self._place._replace(ended=DONE_SENT))
        self.ended = True

    def _append(self, name: Name, data: str, place: Place) -> None:
        self._place = place
        wire = encode(name, data, place, self._second)
        self.size_bytes += len(data) + len(wire)
        self.events.append(Sse(name, data, place, wire))
