import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tidemill.stack.home import snapshot
from tidemill.stack.home.layout import Home
from tidemill.stack.home.state_file import StateFile
from tidemill.stack.processes.ports import PortReservations
from tidemill.testing.ports import OwnPort
from tidemill.testing.processes import runs

WITHIN_S = 300


class Stack:
    """A home of its own, stand-ins for the services, and the commands as a person types them."""

    def __init__(self, directory, install_programs):
        self.home = Home(directory / "home")
        self.programs = install_programs(directory / "bin")
        self.env = {"PATH": os.environ["PATH"], "TIDEMILL_HOME": str(self.home.path)}
        self.catalogue = directory / "catalogue"
        self._port = OwnPort()

    @property
    def port(self):
        return self._port.number

    def popen(self, *arguments):
        command = [sys.executable, "-m", "tidemill.stack", *arguments]
        return subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, *arguments):
        process = self.popen(*arguments)
        output, _ = process.communicate(timeout=WITHIN_S)
        return process.returncode, output

    def up(self, *arguments):
        """At a port of this stack's own, if no other is asked for."""
        return self.up_again("--port", str(self.port), *arguments)

    def up_again(self, *arguments):
        """At the port that the home remembers."""
        return self.run("up", "--detach", "--programs", str(self.programs), *arguments)

    def snapshot(self):
        return snapshot.read(self.home.snapshot_file)

    def pid(self, name):
        return next((part.pid for part in self.snapshot().parts if part.name == name), None)

    def models(self, *names):
        for name in names:
            (self.catalogue / name).mkdir(parents=True)
            (self.catalogue / name / "cog.yaml").write_text("")
        return "--catalogue", str(self.catalogue)

    def calls(self):
        return (self.programs / "calls").read_text().splitlines()

    def discard(self):
        self.run("down")
        outside = StateFile(self.home.data("postgres") / "state.json").text("outside")
        if outside is not None:
            subprocess.run(["rm", "-rf", outside], check=True)


@pytest.fixture
def stack(tmp_path, install_programs):
    stack = Stack(tmp_path, install_programs)
    yield stack
    stack.discard()


def until(condition):
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def shell_reads(env_file, name):
    script = f'. "{env_file}" && printf %s "${name}"'
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout


def test_up_fills_the_stack_and_down_empties_it(stack):
    code, output = stack.up(*stack.models("noop", "broken", "writer"))
    assert code == 0, output
    assert "gateway ready" in output
    assert "tidemill/broken was not pushed" in output
    assert "no such package" in output
    assert "tidemill run tidemill/noop -i text=hello  ->  hello" in output
    assert "token-of-local" in output
    current = stack.snapshot()
    assert shell_reads(stack.home.env_file, "REPLICATE_API_TOKEN") == "token-of-local"
    assert shell_reads(stack.home.env_file, "REPLICATE_BASE_URL") == current.base_url
    assert "token-of-local" not in stack.home.log("stack").read_text()
    assert stack.run("status")[0] == 0
    pids = [part.pid for part in current.parts]
    code, output = stack.run("down")
    assert code == 0, output
    assert not any(runs(pid) for pid in [*pids, current.pid])
    assert stack.run("status")[0] == 1
    assert stack.run("down") == (0, "not running\n")


def test_steps_use_the_accounts_they_are_for(stack):
    stack.up(*stack.models("noop"))
    assert stack.calls() == [
        "|account create local --if-missing --unlimited",
        "|token create local --name local --print",
        "|account create tidemill --if-missing",
        "|token create tidemill --name tidemill --print",
        f"token-of-tidemill|push tidemill/noop {stack.catalogue / 'noop'} --if-changed --public --no-example",
        "token-of-local|run tidemill/noop -i text=hello",
    ]


def test_the_catalogue_gets_examples_and_a_collection(stack):
    arguments = stack.models("noop", "writer", "quiet")
    for name in ("noop", "writer"):
        (stack.catalogue / name / "example.json").write_text('{"input": {}}')
    collection = stack.catalogue / "COLLECTION.md"
    collection.write_text("# First\n\n- `tidemill/writer`, tidemill/noop.\n")
    assert stack.up(*arguments)[0] == 0
    wanted = f"|collection set try-these-first tidemill/writer tidemill/noop --file {collection} --skip-missing"
    assert wanted in stack.calls()
    until(lambda: "examples of the catalogue are made" in stack.home.log("stack").read_text())
    made = sorted(call for call in stack.calls() if "|example" in call)
    assert made == [
        f"token-of-tidemill|example add tidemill/{name} {stack.catalogue / name / 'example.json'}"
        for name in ("noop", "writer")
    ]


def test_a_second_up_changes_nothing_and_a_restart_keeps_the_addresses(stack):
    stack.up()
    first = stack.snapshot()
    env = stack.home.env_file.read_text()
    code, output = stack.up_again()
    assert code == 0
    assert "already running" in output
    assert stack.snapshot() == first
    code, output = stack.up("--port", str(first.port + 1))
    assert code == 1
    assert f"it listens on port {first.port}" in output
    stack.run("down")
    # As in a shell that has read the env file: our own addresses are not an operator's.
    stack.env |= {"TIDEMILL_DATABASE_URL": shell_reads(stack.home.env_file, "TIDEMILL_DATABASE_URL")}
    code, output = stack.up_again()
    assert code == 0
    assert "MOVED" not in output
    assert stack.home.env_file.read_text() == env
    assert [part.where for part in stack.snapshot().parts] == [part.where for part in first.parts]
    assert len([call for call in stack.calls() if "token create" in call]) == 1


def test_a_restart_that_finds_its_port_taken_says_where_it_has_moved(stack):
    stack.up()
    old_url = stack.snapshot().base_url
    stack.run("down")
    with socket.create_server(("127.0.0.1", stack.port)):
        code, output = stack.up_again()
    assert code == 0, output
    new_url = stack.snapshot().base_url
    assert new_url != old_url
    assert f"port {stack.port} is taken by another program" in output
    assert f"it was at {old_url} and is now at {new_url}\n  {stack.home.env_file} has changed" in output
    assert shell_reads(stack.home.env_file, "REPLICATE_BASE_URL") == new_url
    stack.run("down")
    _, output = stack.up_again()
    assert stack.snapshot().base_url == new_url
    assert "MOVED" not in output


def test_stacks_that_start_at_the_same_moment_get_ports_of_their_own(stack, tmp_path, install_programs):
    others = []
    for name in ("second", "third"):
        (tmp_path / name).mkdir()
        others.append(Stack(tmp_path / name, install_programs))
    stacks = [stack, *others]
    try:
        for each in stacks:
            each.home.prepare()
            StateFile(each.home.state_file).put("gateway", stack.port)
        starting = [each.popen("up", "--detach", "--programs", str(each.programs)) for each in stacks]
        outputs = [process.communicate(timeout=WITHIN_S)[0] for process in starting]
        assert [process.returncode for process in starting] == [0] * len(stacks), outputs
        chosen = [each.snapshot().port for each in stacks]
        assert len(set(chosen)) == len(stacks)
        assert stack.port in chosen
    finally:
        for other in others:
            other.discard()


def test_a_service_that_dies_is_started_again(stack):
    stack.up()
    killed = stack.pid("worker")
    os.kill(killed, signal.SIGKILL)
    until(lambda: stack.pid("worker") not in (killed, None))
    assert next(part.restarts for part in stack.snapshot().parts if part.name == "worker") == 1
    until(lambda: stack.run("status")[0] == 0)
    assert "worker was killed by SIGKILL; starting it again" in stack.home.log("stack").read_text()


def test_nobody_is_refused_while_the_gateway_is_started_again(stack):
    stack.up()
    killed = stack.pid("gateway")
    os.kill(killed, signal.SIGKILL)
    until(lambda: not runs(killed))
    for _ in range(10):  # none of them finds a closed port; each is answered by the next gateway
        with urllib.request.urlopen(f"http://127.0.0.1:{stack.port}/", timeout=WITHIN_S) as reply:
            assert reply.status == 200
    until(lambda: stack.pid("gateway") not in (killed, None))


def test_a_second_up_replaces_services_whose_settings_have_changed(stack):
    stack.up()
    first = stack.snapshot()
    stack.env["TIDEMILL_TOKEN_CACHE_S"] = "1"
    code, output = stack.up_again()
    assert code == 0, output
    assert "replacing gateway: changed: TIDEMILL_TOKEN_CACHE_S" in output
    second = stack.snapshot()
    for before, after in zip(first.parts, second.parts, strict=True):
        assert (before.pid == after.pid) == (before.kind == "server")
        assert runs(before.pid) == (before.kind == "server")
    assert second.port == first.port
    assert stack.up_again()[1].count("replacing") == 0
    killed = stack.pid("gateway")
    os.kill(killed, signal.SIGKILL)  # what came in its place is looked after as the first was
    until(lambda: stack.pid("gateway") not in (killed, None))
    stack.run("down")
    assert not any(runs(part.pid) for part in second.parts)


def test_a_second_up_replaces_services_whose_code_has_changed(stack):
    stack.up()
    first = stack.pid("gateway"), stack.pid("scheduler")
    program = stack.programs / "tidemill-gateway"
    program.write_text(program.read_text() + "\n")
    code, output = stack.up_again()
    assert code == 0, output
    assert "replacing gateway: changed: code" in output
    assert stack.pid("gateway") != first[0]
    assert stack.pid("scheduler") == first[1]


@pytest.mark.parametrize("service", ["gateway", "worker"])
def test_a_successor_that_does_not_start_leaves_what_runs(stack, service):
    stack.up()
    (stack.programs / f"tidemill-{service}.fails").touch()
    code, output = stack.up_again()
    assert code == 0, output  # nothing has changed
    program = stack.programs / f"tidemill-{service}"
    program.write_text(program.read_text() + "\n")
    code, output = stack.up_again()
    assert code == 1
    assert f"{service} did not start" in output
    (stack.programs / f"tidemill-{service}.fails").unlink()
    until(lambda: stack.run("status")[0] == 0)


def test_servers_of_the_operator_are_no_change_for_a_second_up(stack):
    stack.up()
    first = stack.snapshot()
    stack.env["TIDEMILL_DATABASE_URL"] = "postgresql://me@elsewhere/x"
    code, output = stack.up_again()
    assert code == 1
    assert "TIDEMILL_DATABASE_URL changed: run `down` and then `up`" in output
    assert stack.snapshot() == first


def test_a_server_that_dies_is_started_again(stack):
    stack.up()
    before = stack.snapshot()
    killed = stack.pid("PostgreSQL")
    os.kill(killed, signal.SIGKILL)
    until(lambda: stack.pid("PostgreSQL") not in (killed, None))
    assert [part.where for part in stack.snapshot().parts] == [part.where for part in before.parts]


def test_a_service_that_cannot_start_fails_up_with_its_words(stack):
    (stack.programs / "tidemill-scheduler.fails").touch()
    code, output = stack.up()
    assert code == 1
    assert "scheduler did not start: it exited with status 1" in output
    assert "| tidemill-scheduler cannot go on" in output
    assert stack.home.owner() is None
    assert stack.run("status")[0] == 1


def test_a_first_model_that_cannot_be_pushed_fails_up(stack):
    command = (stack.programs / "tidemill").read_text().replace("tidemill/broken", "tidemill/noop")
    (stack.programs / "tidemill").write_text(command)
    code, output = stack.up(*stack.models("noop"))
    assert code == 1
    assert "no such package" in output
    assert stack.home.owner() is None


def test_orphans_of_a_killed_supervisor_are_ended(stack):
    stack.up()
    first = stack.snapshot()
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: stack.home.owner() is None)
    code, output = stack.run("status")
    assert (code, "worker" in output) == (1, True), output
    code, output = stack.up_again()
    assert code == 0, output
    assert "ended worker, left behind by a supervisor that was killed" in output
    assert stack.snapshot().port == first.port
    os.kill(stack.snapshot().pid, signal.SIGKILL)
    until(lambda: stack.home.owner() is None)
    code, output = stack.run("down")
    assert code == 0
    assert "gateway" in output
    assert not any(runs(part.pid) for part in first.parts)


def test_ctrl_c_in_the_foreground_stops_all(stack):
    process = stack.popen("up", "--port", str(stack.port), "--programs", str(stack.programs))
    until(lambda: (current := stack.snapshot()) is not None and current.phase == "ready")
    pids = [part.pid for part in stack.snapshot().parts]
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0, output
    assert "object store stopped" in output
    assert output.index("gateway stopped") < output.index("worker stopped") < output.index("PostgreSQL stopped")
    assert not any(runs(pid) for pid in pids)


def test_a_taken_port_that_was_asked_for_is_an_error(stack):
    with socket.create_server(("127.0.0.1", stack.port)):
        code, output = stack.up()
    assert code == 1
    assert f"port {stack.port} is taken" in output


def test_a_port_that_another_stack_is_about_to_use_is_taken(stack):
    other = PortReservations()
    assert other.take(stack.port)
    code, output = stack.up()
    assert code == 1
    assert f"port {stack.port} is taken" in output


def test_servers_of_the_operator_are_used(stack, tmp_path, install_programs):
    (tmp_path / "other").mkdir()
    other = Stack(tmp_path / "other", install_programs)
    try:
        assert other.up()[0] == 0
        names = ["TIDEMILL_NATS_URL", "TIDEMILL_DATABASE_URL", "TIDEMILL_S3_URL"]
        names += ["TIDEMILL_S3_ACCESS_KEY", "TIDEMILL_S3_SECRET_KEY"]
        stack.env |= {name: shell_reads(other.home.env_file, name) for name in names}
        code, output = stack.up()
        assert code == 0, output
        assert "using the server of TIDEMILL_DATABASE_URL" in output
        assert {part.kind for part in stack.snapshot().parts} == {"service"}
        assert stack.snapshot().port != other.snapshot().port
        for name in names:
            assert shell_reads(stack.home.env_file, name) == stack.env[name]
    finally:
        other.discard()


def test_logs_are_found_by_name(stack):
    stack.up()
    code, output = stack.run("logs", "gateway")
    assert code == 0
    assert output.startswith("started tidemill-gateway postgresql://")
    assert stack.run("logs", "nope")[0] == 1
    follower = stack.popen("logs", "gateway", "-f", "-n", "1")
    assert follower.stdout.readline().startswith("started")
    with stack.home.log("gateway").open("a") as log:
        log.write("added\n")
    assert follower.stdout.readline() == "added\n"
    follower.send_signal(signal.SIGINT)
    follower.communicate(timeout=WITHIN_S)
    assert follower.returncode == 130
