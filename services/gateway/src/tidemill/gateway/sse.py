"""Live output as server-sent events: from chunks as they come, and from the row when there are none. Pure.

Official clients know the event names output, logs, error and done, and fail on any other. An id is the second in which
the prediction was made and the number of outputs so far: the same on every gateway, live or from the row, so that
Last-Event-ID works wherever a client comes back to.
"""

import re
from typing import Any, Final, Literal

import msgspec

from tidemill.contracts.events import AnyChunk, Done, Logs, Output, Reset
from tidemill.contracts.prediction import TERMINAL, Status

LINE_END: Final = re.compile(r"\r\n|\r|\n")  # the three that the format knows
EVENT_ID: Final = re.compile(r"(\d{1,12}):(\d{1,9})")
HEARTBEAT: Final = b": \n\n"
_REASONS: Final = {Status.FAILED: "error", Status.CANCELED: "canceled", Status.ABORTED: "canceled"}


class Sse(msgspec.Struct, frozen=True):
    """One event; `number` counts the outputs up to and including it."""

    name: Literal["output", "logs", "error", "done"]
    data: str
    number: int


class Ending(msgspec.Struct, frozen=True):
    """A prediction's row after its end; `output` is the decoded JSON."""

    status: Status
    output: Any
    logs: str
    error: str | None


def encode(event: Sse, second: int) -> bytes:
    lines = "".join(f"data: {line}\n" for line in LINE_END.split(event.data))
    return f"event: {event.name}\nid: {second}:{event.number}\n{lines}\n".encode()


def number(last_event_id: str | None) -> int:
    """The number of the event that a client has seen last; below all numbers when it tells of none."""
    match = EVENT_ID.fullmatch(last_event_id or "")
    return -1 if match is None else int(match[2])


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

    def __init__(self) -> None:
        self.events: list[Sse] = []
        self.size_chars = 0
        self.ended = False
        self._attempt = 1
        self._next_seq = 0
        self._hole = False
        self._outputs_sent = 0  # of this attempt
        self._logs_sent_chars = 0

    def add(self, chunk: AnyChunk) -> None:
        if self.ended or chunk.attempt < self._attempt:
            return
        if chunk.attempt > self._attempt:
            self._begin(chunk.attempt)
        if isinstance(chunk, Reset):
            return  # the attempt says it all; what was sent before cannot be taken back
        if chunk.seq != self._next_seq:
            self._hole = self._hole or chunk.seq > self._next_seq
            return
        if self._hole:
            return
        self._next_seq += 1
        self._add(chunk)

    def _begin(self, attempt: int) -> None:
        self._attempt = attempt
        self._next_seq = self._outputs_sent = self._logs_sent_chars = 0
        self._hole = False

    def _add(self, chunk: Output | Logs | Done) -> None:
        if isinstance(chunk, Output):
            self._output(text(msgspec.json.decode(chunk.value)))
        elif isinstance(chunk, Logs):
            self._logs(chunk.text)
        else:
            self._end(chunk.status, chunk.error)

    def finish(self, ending: Ending) -> None:
        """Adds what the row has and was not sent, and the end."""
        if self.ended:
            return
        if logs := ending.logs[self._logs_sent_chars :]:
            self._logs(logs)
        for item in items(ending.output)[self._outputs_sent :]:
            self._output(item)
        self._end(ending.status, ending.error)

    def _output(self, data: str) -> None:
        self._outputs_sent += 1
        self._append("output", data, self._number + 1)

    def _logs(self, data: str) -> None:
        self._logs_sent_chars += len(data)
        self._append("logs", data, self._number)

    def _end(self, status: Status, error: str | None) -> None:
        assert status in TERMINAL, "only an end ends a stream"
        if status is Status.FAILED:
            self._append(
                "error", msgspec.json.encode({"detail": error or "Something went wrong"}).decode(), self._number
            )
        reason = _REASONS.get(status)
        self._append("done", msgspec.json.encode({"reason": reason} if reason else {}).decode(), self._number + 1)
        self.ended = True

    @property
    def _number(self) -> int:
        return self.events[-1].number if self.events else 0

    def _append(self, name: Literal["output", "logs", "error", "done"], data: str, number: int) -> None:
        self.size_chars += len(data)
        self.events.append(Sse(name, data, number))
