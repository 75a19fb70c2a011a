import json
import logging

import pytest
import structlog
from aiohttp.http_exceptions import BadHttpMessage

from tidemill.runtime import telemetry
from tidemill.runtime.config import Common


@pytest.fixture
def library(monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    yield logging.getLogger("library")
    root.setLevel(level)
    structlog.reset_defaults()


def configured():
    telemetry.configure("worker", Common(database_url="", nats_url=""))


def test_what_a_library_logs_is_one_line_without_secrets(library, capsys):
    configured()
    library.error("not %s", "well", exc_info=ValueError("r8_" + "a" * 37))
    line = capsys.readouterr().err
    assert "r8_a" not in line
    written = json.loads(line)
    assert (written["service"], written["logger"], written["event"]) == ("worker", "library", "not well")
    assert "ValueError" in written["exception"]


def test_what_is_no_http_is_not_logged(library, capsys):
    configured()
    library.error("Error handling request", exc_info=BadHttpMessage("Authorization: Bearer \x01"))
    assert capsys.readouterr().err == ""
