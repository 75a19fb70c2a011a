import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tidemill.contracts.events import Done, Logs, Output, Reset
from tidemill.contracts.prediction import Status
from tidemill.gateway.sse import Ending, Sse, Transcript, encode, number


def out(seq, value, attempt=1):
    return Output(attempt=attempt, seq=seq, value=msgspec.Raw(json.dumps(value).encode()))


def written(transcript):
    return [(event.name, event.data) for event in transcript.events]


def test_an_event_on_the_wire():
    assert encode(Sse("output", " a\nb\r\n", 3), 1690212292) == (
        b"event: output\nid: 1690212292:3\ndata:  a\ndata: b\ndata: \n\n"
    )
    assert encode(Sse("done", "{}", 0), 1) == b"event: done\nid: 1:0\ndata: {}\n\n"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_can_make_an_event_of_its_own(data):
    wire = encode(Sse("output", data, 1), 1).decode()
    assert wire.endswith("\n\n")
    assert wire.count("\n\n") == 1
    assert "\r" not in wire
    lines = wire[:-2].split("\n")
    assert lines[:2] == ["event: output", "id: 1:1"]
    assert all(line.startswith("data: ") for line in lines[2:])
    read = "\n".join(line.removeprefix("data: ") for line in lines[2:])
    assert read == data.replace("\r\n", "\n").replace("\r", "\n")


def test_numbers_of_event_ids():
    assert [number(text) for text in (None, "", "x", "1:2", "1:2:3", "1:-2", "9:0")] == [-1, -1, -1, 2, -1, -1, 0]


@given(st.permutations([out(0, "a"), Logs(attempt=1, seq=1, text="l"), out(2, "b"), out(2, "b"), out(3, "c")]))
def test_whatever_the_bus_does_the_outputs_are_those_of_the_row_in_order(chunks):
    transcript = Transcript()
    for chunk in chunks:
        transcript.add(chunk)
    transcript.finish(Ending(Status.SUCCEEDED, ["a", "b", "c"], "l", None))
    assert [data for name, data in written(transcript) if name == "output"] == ["a", "b", "c"]
    assert [data for name, data in written(transcript) if name == "logs"] == ["l"]
    assert written(transcript)[-1] == ("done", "{}")


def test_a_zombie_of_an_older_attempt_is_not_heard():
    transcript = Transcript()
    for chunk in (out(0, "a"), Reset(attempt=2, seq=0), out(1, "late"), out(0, "b", 2)):
        transcript.add(chunk)
    transcript.add(Done(attempt=2, seq=1, status=Status.CANCELED))
    transcript.add(out(2, "more", 2))
    transcript.finish(Ending(Status.CANCELED, None, "", None))
    assert written(transcript) == [("output", "a"), ("output", "b"), ("done", '{"reason":"canceled"}')]


def test_a_failure_says_why_and_then_ends():
    transcript = Transcript()
    transcript.finish(Ending(Status.FAILED, None, "", None))
    assert written(transcript) == [("error", '{"detail":"Something went wrong"}'), ("done", '{"reason":"error"}')]
