import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tidemill.contracts.events import DoneChunk, LogsChunk, OutputChunk, ResetChunk
from tidemill.contracts.prediction import Status
from tidemill.gateway.live.sse import FinalState, StreamPosition, Transcript, encode, missing_data, position_of

SECOND = 1690212292


def out(seq, value, attempt=1):
    return OutputChunk(attempt=attempt, seq=seq, value=msgspec.Raw(json.dumps(value).encode()))


def written(transcript):
    return [(event.name, event.data) for event in transcript.events]


def test_an_event_on_the_wire():
    assert encode("output", " a\nb\r\n", StreamPosition(1, 3, 7), SECOND) == (
        b"event: output\nid: 1690212292:1.3.7\ndata:  a\ndata: b\ndata: \n\n"
    )
    assert encode("done", "{}", StreamPosition(2, ended=2), 1) == b"event: done\nid: 1:2.0.0.2\ndata: {}\n\n"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_can_make_an_event_of_its_own(data):
    wire = encode("output", data, StreamPosition(1, 1), 1).decode()
    assert wire.endswith("\n\n")
    assert wire.count("\n\n") == 1
    assert "\r" not in wire
    lines = wire[:-2].split("\n")
    assert lines[:2] == ["event: output", "id: 1:1.1.0"]
    assert all(line.startswith("data: ") for line in lines[2:])
    read = "\n".join(line.removeprefix("data: ") for line in lines[2:])
    assert read == data.replace("\r\n", "\n").replace("\r", "\n")


def test_places_of_event_ids():
    for text in (None, "", "x", "1:2", "1:2.3", "1:2.3.-1", "1:1.2.3.4", "1:1.2.3.2x", "1:" + "9" * 99):
        assert position_of(text) == StreamPosition()
    assert position_of("1:1.2.3") == StreamPosition(1, 2, 3, 0)
    assert position_of("1690212292:1.2.3.2") == StreamPosition(1, 2, 3, 2)


@given(st.permutations([out(0, "a"), LogsChunk(attempt=1, seq=1, text="l"), out(2, "b"), out(2, "b"), out(3, "c")]))
def test_whatever_the_bus_does_the_outputs_are_those_of_the_row_in_order(chunks):
    transcript = Transcript(SECOND)
    for chunk in chunks:
        transcript.add(chunk)
    transcript.finish(FinalState(Status.SUCCEEDED, ["a", "b", "c"], "l", None))
    assert [data for name, data in written(transcript) if name == "output"] == ["a", "b", "c"]
    assert [data for name, data in written(transcript) if name == "logs"] == ["l"]
    assert written(transcript)[-1] == ("done", "{}")


def test_a_zombie_of_an_older_attempt_is_not_heard():
    transcript = Transcript(SECOND)
    for chunk in (out(0, "a"), ResetChunk(attempt=2, seq=0), out(1, "late"), out(0, "b", 2)):
        transcript.add(chunk)
    transcript.add(DoneChunk(attempt=2, seq=1, status=Status.CANCELED))
    transcript.add(out(2, "more", 2))
    transcript.finish(FinalState(Status.CANCELED, None, "", None))
    assert written(transcript) == [("output", "a"), ("output", "b"), ("done", '{"reason":"canceled"}')]


def test_a_failure_says_why_and_then_ends():
    transcript = Transcript(SECOND)
    transcript.finish(FinalState(Status.FAILED, None, "", None))
    assert written(transcript) == [("error", '{"detail":"Something went wrong"}'), ("done", '{"reason":"error"}')]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
CHUNKS = st.lists(st.tuples(st.sampled_from(["output", "logs"]), TEXTS), max_size=8)


def live(chunks, status, attempt=1):
    """The transcript of one who was there."""
    transcript = Transcript(SECOND)
    for seq, (name, data) in enumerate(chunks):
        transcript.add(out(seq, data, attempt) if name == "output" else LogsChunk(attempt=attempt, seq=seq, text=data))
    transcript.add(DoneChunk(attempt=attempt, seq=len(chunks), status=status, error="e"))
    return transcript


def of_row(chunks, status, attempt=1):
    """The transcript of one who came later."""
    transcript = Transcript(SECOND)
    outputs, logs = ([data for name, data in chunks if name == kind] for kind in ("output", "logs"))
    transcript.finish(FinalState(status, outputs, "".join(logs), "e", attempt))
    return transcript


def joined(parts, kind):
    return "".join(data for name, data in parts if name == kind)


@given(CHUNKS, st.sampled_from([Status.SUCCEEDED, Status.FAILED, Status.CANCELED]), st.data())
def test_whoever_goes_on_elsewhere_has_everything_once(chunks, status, data):
    first = live(chunks, status)
    broken_off = data.draw(st.integers(0, len(first.events)))
    seen = first.events[:broken_off]
    identifier = seen[-1].wire.split(b"\n")[1].removeprefix(b"id: ").decode() if seen else None
    for second in (live(chunks, status), of_row(chunks, status)):
        rest = [(event.name, missing_data(event, position_of(identifier))) for event in second.events]
        both = [(event.name, event.data) for event in seen] + [each for each in rest if each[1] is not None]
        for kind in ("output", "logs", "error", "done"):
            assert joined(both, kind) == joined([(event.name, event.data) for event in first.events], kind)
        assert both[-1][0] == "done"


@given(CHUNKS, CHUNKS)
def test_another_attempt_is_sent_from_its_beginning(before, after):
    seen = live(before, Status.SUCCEEDED).events[:-1]
    place = seen[-1].position if seen else StreamPosition()
    again = of_row(after, Status.SUCCEEDED, attempt=2)
    assert [missing_data(event, place) for event in again.events] == [event.data for event in again.events]


def test_a_later_attempt_ends_a_transcript_of_an_earlier_one():
    transcript = Transcript(SECOND)
    transcript.add(out(0, "a"))
    transcript.finish(FinalState(Status.SUCCEEDED, ["x", "y"], "", None, 2))
    assert written(transcript) == [("output", "a"), ("output", "x"), ("output", "y"), ("done", "{}")]
