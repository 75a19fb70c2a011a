"""Uploads of a push: what is missing, each file once, and again when the connection breaks."""

import hashlib

import pytest

from tidemill.cli import push
from tidemill.cli.api import Unreachable
from tidemill.cli.bundle import files_of


class Store:
    """Stands for the API: breaks the connection `breaks` times."""

    def __init__(self, breaks):
        self.breaks = breaks
        self.kept = {}

    def call(self, method, path, *, content, headers):
        assert method == "PUT"
        body = b"".join(content)
        if self.breaks:
            self.breaks -= 1
            raise Unreachable("broken")
        assert int(headers["Content-Length"]) == len(body)
        assert path == f"blobs/{hashlib.sha256(body).hexdigest()}"
        assert path not in self.kept
        self.kept[path] = body


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setattr(push, "UPLOAD_PAUSE_S", 0)
    for name, text in {"cog.yaml": "x", "a.txt": "same", "b.txt": "same", "c.txt": "other"}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_only_what_is_missing_is_sent_and_equal_files_once(directory):
    store = Store(breaks=0)
    push._upload(store, directory, files_of(directory), {digest("same"), digest("other")})
    assert sorted(store.kept.values()) == [b"other", b"same"]


def test_a_file_is_sent_whole_again_when_the_connection_breaks(directory):
    store = Store(breaks=push.UPLOAD_TRIES - 1)
    push._upload(store, directory, files_of(directory), {digest("other")})
    assert list(store.kept.values()) == [b"other"]


def test_it_gives_up_in_the_end(directory):
    store = Store(breaks=push.UPLOAD_TRIES)
    with pytest.raises(Unreachable):
        push._upload(store, directory, files_of(directory), {digest("other")})
    assert store.kept == {}
