import asyncio
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tidemill.stack.__main__ import main
from tidemill.stack.home.layout import Home
from tidemill.stack.processes import os_accounts
from tidemill.stack.processes.os_accounts import OsAccount
from tidemill.stack.processes.process import ProcessStartError, describe_exit, failure
from tidemill.stack.provisioning.catalogue import Catalogue
from tidemill.stack.reporting import detach
from tidemill.stack.reporting.report import ProgressReport
from tidemill.stack.servers import cluster_location, external_data, server_environment
from tidemill.stack.services.service_process import ready_url
from tidemill.stack.supervision import backing_servers
from tidemill.stack.supervision.unit_supervisor import UnitSupervisor

NOBODY = OsAccount("nobody", 65534, 65534)


@pytest.mark.parametrize("given", ["TIDEMILL_S3_URL", "TIDEMILL_S3_SECRET_KEY"])
def test_an_incomplete_store_is_refused(tmp_path, given):
    with pytest.raises(ProcessStartError, match="TIDEMILL_S3_ACCESS_KEY"):
        backing_servers.BackingServers(Home(tmp_path), {given: "x"})


def test_a_reader_that_went_away_stops_nobody(tmp_path):
    def gone(_text):
        raise BrokenPipeError

    ProgressReport(gone, tmp_path / "log").say("stopped")
    assert "stopped" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("given", ["abc", "0", "65536", "-1", "٣"])
@pytest.mark.parametrize("command", [["up"], ["up", "--port"]])
def test_a_wrong_port_is_refused_with_a_message(monkeypatch, capsys, tmp_path, given, command):
    monkeypatch.setenv("TIDEMILL_HOME", str(tmp_path))
    monkeypatch.setenv("TIDEMILL_PORT", given)
    if "--port" in command:
        with pytest.raises(SystemExit):
            main([*command, given])
    else:
        assert main(command) == 1
    assert "is no port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "passes"),
    [
        (0o700, 0, 0, False),
        (0o711, 0, 0, True),
        (0o700, 65534, 0, True),
        (0o077, 65534, 0, False),
        (0o710, 0, 65534, True),
        (0o701, 0, 65534, False),
    ],
)
def test_mode_bits_decide_who_passes(mode, uid, gid, passes):
    status = os.stat_result((mode, 0, 0, 0, uid, gid, 0, 0, 0, 0))
    assert os_accounts._may_pass(NOBODY, status) is passes


def test_without_an_account_every_path_is_reachable(tmp_path):
    assert os_accounts.can_reach(None, tmp_path)


def test_a_closed_parent_is_not_reachable(tmp_path):
    inside = tmp_path / "closed" / "inside"
    inside.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    stranger = OsAccount("stranger", 54321, 54321)
    assert not os_accounts.can_reach(stranger, inside)


def test_a_faster_stack_keeps_its_copy(tmp_path):
    for name in ("fresh", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    cluster_location._rename_unless_there(tmp_path / "fresh", tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "target"
    assert not (tmp_path / "fresh").exists()


def test_only_what_a_vanished_temporary_home_left_is_pruned(tmp_path):
    homes = {"gone": tmp_path / "gone", "kept": tmp_path, "mounted-later": Path("/mnt/not/there")}
    for name, home in homes.items():
        (tmp_path / f"data-{name}").mkdir()
        (tmp_path / f"data-{name}.home").write_text(str(home))
    external_data.prune(tmp_path)
    left = {"data-kept", "data-kept.home", "data-mounted-later", "data-mounted-later.home"}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_pruning_goes_on_when_another_stack_has_deleted_what_it_found(tmp_path, monkeypatch):
    (tmp_path / "data-a.home").write_text(str(tmp_path / "gone"))
    found = [tmp_path / "data-deleted.home", tmp_path / "data-a.home"]
    monkeypatch.setattr(Path, "glob", lambda _folder, _pattern: found)
    external_data.prune(tmp_path)
    assert not (tmp_path / "data-a.home").exists()


def test_data_of_a_running_server_are_not_pruned(tmp_path):
    (tmp_path / "data-x" / "pgdata").mkdir(parents=True)
    (tmp_path / "data-x" / "pgdata" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    (tmp_path / "data-x.home").write_text(str(tmp_path / "gone"))
    external_data.prune(tmp_path)
    assert (tmp_path / "data-x").exists()


def test_our_own_url_is_known_by_its_secret():
    assert backing_servers.is_ours("postgresql://tidemill:s3cret@127.0.0.1:1/x", "s3cret")
    assert not backing_servers.is_ours("postgresql://me:other@db/x", "s3cret")
    assert not backing_servers.is_ours("postgresql://me:other@db/x", None)


def test_servers_get_no_settings_of_other_programs(monkeypatch):
    for name in ("PGHOST", "AWS_PROFILE", "GOMEMLIMIT", "TIDEMILL_HOME", "LC_TIME"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("HTTPS_PROXY", "kept")
    env = server_environment.for_server(AWS_ACCESS_KEY_ID="ours")
    assert not {"PGHOST", "AWS_PROFILE", "GOMEMLIMIT", "TIDEMILL_HOME", "LC_TIME"} & env.keys()
    assert env["HTTPS_PROXY"] == "kept"
    assert env["AWS_ACCESS_KEY_ID"] == "ours"


@pytest.mark.parametrize(
    ("status", "text"), [(0, "exited with status 0"), (-9, "was killed by SIGKILL"), (None, "ended")]
)
def test_ends_are_described(status, text):
    assert describe_exit(status) == text


def test_a_failure_shows_the_end_of_the_log(tmp_path):
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    text = failure("x", "it broke", log)
    assert text.startswith(f"x did not start: it broke (log: {log})\n")
    assert text.endswith("  | line 98\n  | line 99")
    assert failure("x", "it broke", tmp_path / "none") == f"x did not start: it broke (log: {tmp_path / 'none'})"


@pytest.mark.parametrize(
    ("host", "expected"), [("0.0.0.0", "127.0.0.1"), ("10.0.0.1", "10.0.0.1"), ("::", "127.0.0.1")]
)
def test_readiness_is_asked_where_the_service_listens(host, expected):
    assert ready_url(host, 99) == f"http://{expected}:99/ready"


def test_the_first_model_leads_the_catalogue(tmp_path):
    for name in ("alpha", "noop", "zeta"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cog.yaml").write_text("")
    (tmp_path / "not-a-model").mkdir()
    assert [model.name for model in Catalogue(tmp_path).models()] == ["noop", "alpha", "zeta"]


def test_a_report_pipe_survives_the_end_of_its_reader():
    reading, writing = os.pipe()
    channel = detach.ReportPipe(writing)
    os.close(reading)
    channel.show("nobody hears this")
    channel.show("nor this")
    channel.finish(detach.READY)


def test_the_outcome_on_the_pipe_is_the_exit_status(tmp_path):
    child = SimpleNamespace(wait=lambda: 3)
    shown = []
    assert detach._relay(["a\n", detach.READY + "\n"], child, tmp_path, shown.append) == 0
    assert detach._relay(["b\n", detach.FAILED + "\n"], child, tmp_path, shown.append) == 1
    assert detach._relay(["c\n"], child, tmp_path, shown.append) == 1
    assert shown[:2] == ["a", "b"]
    assert shown[2] == f"the log of this is {tmp_path}"
    assert shown[3] == "c"
    assert "status 3" in shown[4]
    assert detach._relay([], SimpleNamespace(wait=lambda: 0), tmp_path, shown.append) == 0
    assert "another `up`" in shown[5]


def test_a_reader_that_closes_the_pipe_causes_no_traceback(tmp_path):
    command = [sys.executable, "-m", "tidemill.stack", "status"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(command, env={"TIDEMILL_HOME": str(tmp_path)}, stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


async def test_waiting_tells_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("tidemill.stack.reporting.report.REMIND_EVERY_S", 0.001)
    told = asyncio.Event()
    shown = []

    def show(text):
        shown.append(text)
        told.set()

    report = ProgressReport(show, tmp_path / "stack.log")
    async with asyncio.timeout(120), report.waiting("NATS", lambda: "no answer yet"):
        await told.wait()
    assert shown[0] == "  ... waiting for NATS, 0 s: no answer yet"
    assert "waiting for NATS" in (tmp_path / "stack.log").read_text()


def test_secrets_are_shown_but_not_kept(tmp_path):
    shown = []
    ProgressReport(shown.append, tmp_path / "stack.log").tell("token t")
    assert shown == ["token t"]
    assert not (tmp_path / "stack.log").exists()


class DyingUnit:
    """Each start lives until the test kills it; the starts numbered in `failing` fail."""

    name, where = "fake", "nowhere"

    def __init__(self, failing=()):
        self.process = SimpleNamespace(alive=False, exit_status=1, ended=self.ended)
        self.starts = 0
        self.end = asyncio.Event()
        self._failing = failing

    async def ended(self):
        if self.process.alive:
            await self.end.wait()

    async def stop(self):
        self.process.alive = False
        self.end.set()

    async def kill(self):
        await self.stop()

    async def start(self):
        self.starts += 1
        if self.starts in self._failing:
            raise ProcessStartError("fake did not start")
        self.process.alive = True
        self.end.clear()


async def test_a_unit_supervisor_goes_on_after_a_failed_start(monkeypatch):
    monkeypatch.setattr("tidemill.stack.supervision.backoff.FIRST_S", 0.001)
    unit = DyingUnit(failing=(1, 2))
    said, running = [], asyncio.Event()

    def changed():
        if unit.process.alive:
            running.set()

    unit_supervisor = UnitSupervisor(unit, said.append, changed)
    task = asyncio.create_task(unit_supervisor.run())
    async with asyncio.timeout(120):
        await running.wait()
    task.cancel()
    assert unit_supervisor.restarts == 3
    assert said.count("fake did not start") == 2
    assert said[-1] == "fake is ready again (nowhere)"


@pytest.fixture
async def kept():
    """A running unit, its supervisor, and the lines that the supervisor said."""
    unit, said = DyingUnit(), []
    await unit.start()
    unit_supervisor = UnitSupervisor(unit, said.append, lambda: None)
    task = asyncio.create_task(unit_supervisor.run())
    yield unit, unit_supervisor, said
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("beside", [True, False])
async def test_a_unit_that_is_replaced_is_not_started_again(kept, beside):
    old, unit_supervisor, said = kept
    successor = DyingUnit()
    await unit_supervisor.replace(successor, beside=beside)
    assert (unit_supervisor.unit, old.process.alive, successor.process.alive) == (successor, False, True)
    await asyncio.sleep(0)
    assert (old.starts, successor.starts, unit_supervisor.restarts, said) == (1, 1, 0, [])


@pytest.mark.parametrize("beside", [True, False])
async def test_a_successor_that_does_not_start_gives_its_place_back(kept, beside):
    old, unit_supervisor, _ = kept
    with pytest.raises(ProcessStartError):
        await unit_supervisor.replace(DyingUnit(failing=(1,)), beside=beside)
    assert (unit_supervisor.unit, old.process.alive) == (old, True)
    assert old.starts == (1 if beside else 2)
