import msgspec
import pytest

from tidemill.contracts import events, subjects
from tidemill.contracts.prediction import Status


@pytest.mark.parametrize(
    "chunk",
    [
        events.OutputChunk(attempt=1, seq=0, value=msgspec.Raw(b'"a"')),
        events.LogsChunk(attempt=1, seq=1, text="x"),
        events.ResetChunk(attempt=2, seq=2),
        events.DoneChunk(attempt=2, seq=3, status=Status.FAILED, error="no"),
    ],
)
def test_chunks_tell_their_kind(chunk):
    encoded = msgspec.json.encode(chunk)
    assert type(msgspec.json.decode(encoded, type=events.AnyChunk)) is type(chunk)


def test_what_an_older_service_does_not_know_is_ignored():
    job = msgspec.json.decode(
        b'{"id":"i","attempt":1,"account":"a","gateway":"g","created_at":1,"later":true}', type=events.Job
    )
    assert job.deadline is None


def test_each_subject_belongs_to_its_stream_alone():
    made = {
        subjects.JOBS: subjects.job("q"),
        subjects.PREDICTIONS: subjects.prediction("acct", "completed", "gw"),
        subjects.OUTPUT: subjects.output("p"),
    }
    for stream, subject in made.items():
        takers = [other for other in subjects.STREAMS if subject.startswith(other.subjects[0].rstrip(">"))]
        assert takers == [stream]
    for loose in (subjects.DEMAND, subjects.HEARTBEAT, subjects.PUSH_QUEUED, subjects.WEBHOOK, subjects.CANCEL):
        assert not any(loose.startswith(stream.subjects[0].rstrip(">")) for stream in subjects.STREAMS)
