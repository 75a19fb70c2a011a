import json
import stat

import pytest

from tidemill.stack.home.state_file import StateFile, write_private
from tidemill.stack.processes.process import ProcessStartError


def test_a_secret_is_made_once(tmp_path):
    first = StateFile(tmp_path / "state.json").secret("password")
    assert len(bytes.fromhex(first)) == 32
    assert StateFile(tmp_path / "state.json").secret("password") == first


def test_secrets_differ(tmp_path):
    state = StateFile(tmp_path / "state.json")
    assert state.secret("a") != state.secret("b")


def test_the_file_is_its_owners_alone(tmp_path):
    StateFile(tmp_path / "state.json").put("token", "t")
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600


def test_a_replacement_is_whole_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    write_private(path, "old " * 1000)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_of_another_kind_is_not_returned(tmp_path):
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"port": 1, "text": "x", "list": []}))
    state = StateFile(path)
    assert state.text("port") is None
    assert state.text("text") == "x"
    assert state.remembered_port("text") is None
    assert state.remembered_port("port") == 1
    assert state.text("list") is None


@pytest.mark.parametrize("text", ['{"a', "[]", "\0"])
def test_a_file_that_was_damaged_is_named(tmp_path, text):
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(ProcessStartError, match=r"state\.json"):
        StateFile(path)
