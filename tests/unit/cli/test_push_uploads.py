"""A push uploads missing files, each once, and again after a broken connection."""

import hashlib

import pytest

from tidemill.cli.api import client as api
from tidemill.cli.api.client import ServiceUnavailable, Unreachable
from tidemill.cli.errors import CommandError
from tidemill.cli.model_directory.bundle import list_files
from tidemill.cli.push import command as push
from tidemill.cli.push.metadata import ModelMetadata


class Store:
    """A fake API that breaks the connection `breaks` times, or answers 503."""

    def __init__(self, breaks, error=Unreachable):
        self.breaks, self.error = breaks, error
        self.kept = {}

    def call(self, method, path, *, content, headers):
        assert method == "PUT"
        body = b"".join(content)
        if self.breaks:
            self.breaks -= 1
            raise self.error("broken")
        assert int(headers["Content-Length"]) == len(body)
        assert path == f"blobs/{hashlib.sha256(body).hexdigest()}"
        assert path not in self.kept
        self.kept[path] = body


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setattr(api, "RETRY_PAUSE_S", 0)
    for name, text in {"cog.yaml": "x", "a.txt": "same", "b.txt": "same", "c.txt": "other"}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_only_missing_files_are_sent_and_equal_files_once(directory):
    store = Store(breaks=0)
    push._upload(store, directory, list_files(directory), {digest("same"), digest("other")})
    assert sorted(store.kept.values()) == [b"other", b"same"]


@pytest.mark.parametrize("error", [Unreachable, ServiceUnavailable])
def test_a_file_is_sent_again_after_a_broken_connection_or_503(directory, error):
    store = Store(breaks=40, error=error)
    push._upload(store, directory, list_files(directory), {digest("other")})
    assert list(store.kept.values()) == [b"other"]


def test_it_gives_up_in_the_end(directory, monkeypatch):
    monkeypatch.setattr(api, "RETRY_FOR_S", 0.2)
    store = Store(breaks=10**9)
    with pytest.raises(Unreachable):
        push._upload(store, directory, list_files(directory), {digest("other")})
    assert store.kept == {}


def test_a_refused_upload_is_not_repeated(directory):
    store = Store(breaks=2, error=CommandError)
    with pytest.raises(CommandError):
        push._upload(store, directory, list_files(directory), {digest("other")})
    assert store.breaks == 1


@pytest.mark.parametrize("now", ["less", "far more"])
def test_a_file_that_changes_meanwhile_is_named(directory, now):
    files = list_files(directory)
    (directory / "c.txt").write_text(now)
    with pytest.raises(CommandError, match=r"c\.txt changed"):
        push._upload(Store(breaks=0), directory, files, {digest("other")})


class Models:
    """A fake API whose builds fail."""

    def __init__(self, *, has_it):
        self.has_it = has_it
        self.asked = []

    def find(self, _path):
        return {} if self.has_it else None

    def call(self, method, path, **_body):
        self.asked.append((method, path))
        return {"id": "p", "missing": [], "status": "failed", "logs": "", "warnings": [], "error": "no import"}


@pytest.mark.parametrize("has_it", [True, False])
def test_a_push_that_fails_removes_the_model_that_it_made_and_no_other(directory, has_it):
    api = Models(has_it=has_it)
    with pytest.raises(CommandError, match="no import"):
        push._push_files(api, "alice/new", directory, ModelMetadata(visibility="public"), if_changed=False)
    assert (("DELETE", "models/alice/new") in api.asked) is not has_it


class Building:
    """A fake API that returns the states of a push one after the other."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def call(self, method, path):
        assert (method, path) == ("GET", "pushes/p")
        return answer(**self.answers.pop(0))


def answer(**changes):
    push = {"id": "p", "model": "a/m", "status": "queued", "logs": "", "warnings": [], "version": None, "error": None}
    return {**push, **changes}


def test_the_place_in_the_queue_is_printed_when_it_changes(monkeypatch, capsys):
    monkeypatch.setattr(push, "POLL_S", 0)
    places = ({"queue_position": place} for place in (3, 2, 2, 1))
    api = Building(*places, {"status": "building", "logs": "Importing.\n"}, {"status": "succeeded", "version": "v"})
    push._follow(api, answer(queue_position=3))
    waiting = [f"Waiting to be built: number {place} in the queue." for place in (3, 2, 1)]
    assert capsys.readouterr().out.splitlines() == [*waiting, "Importing.", "Version a/m:v"]
