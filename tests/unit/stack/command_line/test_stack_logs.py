import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.stack.command_line import logs
from tidemill.stack.command_line.logs import UnknownLogError
from tidemill.stack.home import log_rotation
from tidemill.stack.home.layout import Home


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path)
    home.prepare()
    home.log("gateway").write_text("one\ntwo\nthree\n")
    home.log("worker").write_text(json.dumps({"timestamp": "T", "level": "info", "event": "started", "part": 3}) + "\n")
    return home


def shown(paths, lines):
    collected = []
    logs.show(paths, lines, follow=False, show_line=collected.append)
    return collected


def test_one_log_is_shown_as_it_is(home):
    assert shown(logs.chosen(home, "gateway"), 2) == ["two", "three"]
    assert shown(logs.chosen(home, "gateway"), 0) == []
    assert shown(logs.chosen(home, "gateway"), 9) == ["one", "two", "three"]


def test_as_many_lines_as_were_asked_for_are_shown_however_long(home):
    lines = [f"{number} {'x' * 5000}" for number in range(40)]
    home.log("gateway").write_text("\n".join(lines) + "\n")
    assert shown(logs.chosen(home, "gateway"), 30) == lines[-30:]


def test_several_are_told_apart(home):
    assert shown(logs.chosen(home, None), 1) == ["gateway | three", "worker  | T  info  started  part=3"]


def test_an_unknown_name_lists_those_that_are(home):
    with pytest.raises(UnknownLogError, match="gateway, worker"):
        logs.chosen(home, "web")


def test_an_exception_keeps_its_lines():
    line = json.dumps({"event": "failed", "exception": "Traceback\n  boom"})
    assert logs.readable(line) == "failed\nTraceback\n  boom"


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_any_line_can_be_shown(line):
    assert isinstance(logs.readable(line), str)


def test_added_lines_are_whole_lines(home):
    log = home.log("gateway")
    end = log.stat().st_size
    with log.open("a") as file:
        file.write("four\nfi")
    added, end = logs._added(log, end)
    assert added == ["four"]
    with log.open("a") as file:
        file.write("ve\n")
    assert logs._added(log, end)[0] == ["five"]


def test_a_rotated_log_is_read_from_its_start(home):
    log = home.log("gateway")
    end = log.stat().st_size
    log.write_text("new\n")
    assert logs._added(log, end)[0] == ["new"]


def test_rotation_keeps_a_bounded_past(home):
    log = home.log("gateway")
    with log.open("a") as writer:
        for round_number in range(4):
            writer.write(f"round {round_number}\n")
            writer.flush()
            log_rotation.rotate_all(home.log_directory, max_bytes=1)
        writer.write("after\n")
    assert log.read_text() == "after\n"
    kept = sorted(path.name for path in home.log_directory.glob("gateway.log.*"))
    assert kept == ["gateway.log.1", "gateway.log.2"]
    assert (home.log_directory / "gateway.log.1").read_text() == "round 3\n"


def test_small_logs_stay(home):
    log_rotation.rotate_all(home.log_directory)
    assert not list(home.log_directory.glob("*.log.*"))
