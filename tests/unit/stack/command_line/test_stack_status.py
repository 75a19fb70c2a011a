import pytest

from tidemill.stack.command_line import status
from tidemill.stack.command_line.status import CheckedUnit
from tidemill.stack.home import snapshot
from tidemill.stack.home.snapshot import Snapshot, UnitStatus


def part(name, **changes):
    given = {"kind": "server", "where": "127.0.0.1:1", "pid": 7, "started_at": 1000.0, "restarts": 0, **changes}
    return UnitStatus(name=name, **given)


def running(*parts, phase="ready", given=()):
    return Snapshot(pid=5, phase=phase, port=8300, base_url="http://127.0.0.1:8300", given=list(given), parts=[*parts])


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.9, "59s"), (61, "1m01s"), (3600, "1h00m"), (90061, "1d01h")]
)
def test_durations_read_well(seconds, text):
    assert status.duration(seconds) == text


def test_the_table_names_every_part_and_fault():
    parts = [part("NATS"), part("worker", kind="service", pid=None, restarts=3)]
    seen = [CheckedUnit(parts[0], None), CheckedUnit(parts[1], "not running")]
    text = status.render(running(*parts, given=["TIDEMILL_S3_URL"]), seen, now=1010.0)
    nats, worker, given, fault = text.splitlines()[2:]
    assert nats.split() == ["NATS", "7", "10s", "0", "ready", "127.0.0.1:1"]
    assert worker.split() == ["worker", "-", "10s", "3", "not", "ready", "127.0.0.1:1"]
    assert "TIDEMILL_S3_URL" in given
    assert fault == "worker: not running"


def test_a_snapshot_reads_back(tmp_path):
    written = running(part("NATS"))
    snapshot.write(tmp_path / "run.json", written)
    assert snapshot.read(tmp_path / "run.json") == written


def test_a_broken_or_missing_snapshot_is_none(tmp_path):
    assert snapshot.read(tmp_path / "run.json") is None
    (tmp_path / "run.json").write_text("{")
    assert snapshot.read(tmp_path / "run.json") is None
