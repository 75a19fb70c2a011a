"""`tidemill secret` sends the right requests and never shows a value; the printed status of workers."""

import pytest
from typer.testing import CliRunner

from tidemill.cli.admin import workers
from tidemill.cli.admin.workers import LiveWorker, format_worker
from tidemill.cli.errors import CommandError
from tidemill.cli.main import app
from tidemill.cli.resources import secrets
from tidemill.contracts.worker_report import CacheReport, InstanceReport, LayerReport, WorkerReport

VALUE = "correct-horse\nbattery-staple"


@pytest.fixture
def asked(monkeypatch):
    calls = []

    class Api:
        def call(self, *arguments, **body):
            calls.append((arguments, body))
            return [{"name": "A_KEY", "updated_at": "2026-01-31T12:00:00.000Z"}]

    monkeypatch.setattr(secrets, "Api", Api)
    return calls


def run(*arguments, given=None):
    result = CliRunner().invoke(app, ["secret", *arguments], input=given)
    if isinstance(result.exception, CommandError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_value_is_read_from_standard_input_and_never_shown(asked):
    assert VALUE not in run("set", "ada/painter", "A_KEY", given=f"{VALUE}\n")
    assert asked == [(("PUT", "models/ada/painter/secrets/A_KEY"), {"json": {"value": VALUE}})]


def test_names_are_listed_and_deleted(asked):
    assert run("list", "ada/painter") == "A_KEY  2026-01-31T12:00:00Z\n"
    assert run("delete", "ada/painter", "A_KEY") == ""
    assert [call[0] for call in asked] == [
        ("GET", "models/ada/painter/secrets"),
        ("DELETE", "models/ada/painter/secrets/A_KEY"),
    ]


@pytest.mark.parametrize("model", ["painter", "ada/", "/painter", "ada/painter/x"])
def test_what_names_no_model(asked, model):
    with pytest.raises(CommandError, match="OWNER/NAME"):
        run("list", model)
    assert asked == []


def test_a_value_that_is_too_short_is_not_even_sent(asked):
    with pytest.raises(CommandError, match="at least 8 characters"):
        run("set", "ada/painter", "A_KEY", given="short\n")
    assert asked == []


def test_the_status_of_a_worker():
    report = WorkerReport(
        user="ordinary user",
        model_network="deny",
        capacity=2,
        draining=True,
        layers=[
            LayerReport(name="network", on=True, required=True, detail="own empty namespace"),
            LayerReport(name="identity", on=False, required=False, detail="the worker is not root"),
        ],
        instances=[
            InstanceReport(id="i", queue="q", state="booting"),
            InstanceReport(
                id="j",
                queue="q",
                state="ready",
                model="ada/painter",
                version="5c7d5dc6dd8b25c1",
                trusted=True,
                network=True,
                slots=2,
                running=1,
                age_s=3_700,
                memory_bytes=5 * 1024**3,
                gpus=["GPU-1"],
                boot={"fetch": 0.012, "total": 4.3},
            ),
        ],
        cache=CacheReport(size_bytes=3 * 1024**2, limit_bytes=50 * 1024**3, found=3, made=1),
    )
    assert format_worker(LiveWorker(id="w", host="h", up_s=200_000, reported_s_ago=1.0, report=report)) == [
        "h  w  up 2 d, as ordinary user, draining",
        "  sandbox    network",
        "  missing    identity (not required): the worker is not root",
        "  network    none for models",
        "  cache      3 MiB of 50.0 GiB, 3 of 4 boots found all files",
        "  instances  2 of 2",
        "    ?  booting 0 s  0/1 running",
        "    ada/painter:5c7d5dc6dd8b  ready 1 h  1/2 running  5.0 GiB  GPU GPU-1  trusted  network",
        "      boot: fetch 12 ms  total 4300 ms",
    ]


def test_a_worker_that_cannot_count_all_memory_says_so():
    cache = CacheReport(size_bytes=0, limit_bytes=1)
    report = WorkerReport(
        user="ordinary user",
        model_network="deny",
        capacity=2,
        draining=False,
        layers=[],
        instances=[],
        cache=cache,
        memory_counted="counted by process tree only",
    )
    assert "  memory     counted by process tree only" in format_worker(
        LiveWorker(id="w", host="h", up_s=1, reported_s_ago=1.0, report=report)
    )


def test_a_report_of_another_release_is_ignored():
    found = workers._found({"id": "w", "host": "h", "up_s": 1.0, "reported_s_ago": 1.0, "report": '{"x": 1}'})
    assert format_worker(found) == ["h  w  up 1 s", "  has not reported yet"]
