"""`tidemill run` cancels its prediction if it ends early: unread output should cost nothing."""

import errno
from types import SimpleNamespace

import pytest

from tidemill.cli.errors import CommandError
from tidemill.cli.run import command as module

SCHEMA = {"components": {"schemas": {"Input": {"properties": {}}}}}


class Api:
    """A fake API whose predictions never end."""

    def __init__(self):
        self.asked = []

    def call(self, method, path, **_body):
        self.asked.append((method, path))
        return {"id": "p", "status": "processing", "output": ["more"]}


@pytest.fixture
def api(monkeypatch):
    api = Api()
    monkeypatch.setattr(module, "Api", lambda: api)
    monkeypatch.setattr(module.model_lookup, "find_version", lambda _api, _named: SimpleNamespace(schema=SCHEMA))
    return api


@pytest.mark.parametrize(
    ("breaks", "ends"),
    [
        (KeyboardInterrupt(), CommandError),
        (BrokenPipeError(), BrokenPipeError),
        (OSError(errno.ENOSPC, "No space left on device"), OSError),
    ],
)
def test_its_prediction_is_canceled(api, monkeypatch, breaks, ends):
    def echo(text="", **_how):
        if text == "more":
            raise breaks

    monkeypatch.setattr(module.typer, "echo", echo)
    with pytest.raises(ends):
        module.run("alice/novel")
    assert api.asked[-1] == ("POST", "predictions/p/cancel")
