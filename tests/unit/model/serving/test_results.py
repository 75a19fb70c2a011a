"""A yielded file is what it was when it was yielded, whatever becomes of its path."""

import os
import socket

import pytest

from cog import Path
from tidemill.model.errors.contract import OutputError
from tidemill.model.serving import results
from tidemill.model.values.encode import encode_output


@pytest.fixture
def sent(monkeypatch):
    """What goes out: frames with the content of their files when the worker comes to read them."""
    frames = []

    class Channel:
        def put(self, frame, descriptors=()):
            frames.append((frame, list(descriptors)))

    yield results.ResultSender(Channel()), frames
    for _, descriptors in frames:
        for descriptor in descriptors:
            os.close(descriptor)


def test_the_next_item_may_take_the_path_of_the_last(sent, tmp_path):
    out, frames = sent
    path = Path(tmp_path / "frame.png")
    for content in (b"first" * 100_000, b"", b"last"):
        path.write_bytes(content)
        out.put_item("p", {"image": path}, None)
    read = [os.pread(descriptors[0], 1_000_000, 0) for _, descriptors in frames]
    assert read == [b"first" * 100_000, b"", b"last"]
    assert [frame["files"] for frame, _ in frames] == [[{"pointer": "/image", "name": "frame.png"}]] * 3
    assert path.exists()  # the model may want it again


def test_what_is_no_file_is_refused(sent, tmp_path):
    out, frames = sent
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    server.close()
    with pytest.raises(OutputError, match="not a regular file"):
        out.put_item("p", Path(tmp_path / "socket"), None)
    assert encode_output(str(tmp_path / "socket")) == (str(tmp_path / "socket"), [])
    assert frames == []
