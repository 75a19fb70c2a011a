"""Ports that several stacks of one machine want at the same moment."""

import contextlib
import socket
import subprocess
import sys

import pytest

from tidemill.stack.home.state_file import StateFile
from tidemill.stack.processes import ports
from tidemill.stack.processes.ports import NoFreePortError, PortReservations
from tidemill.testing.ports import OwnPort

PROCESSES = 4
ROUNDS = 20
# For each line, a port and a state file, it answers with the port that it gets, and keeps that until its end.
CHOOSER = """
import sys
from pathlib import Path
from tidemill.stack.processes import ports
from tidemill.stack.home.state_file import StateFile

ports.RELEASE_WAIT_S = 0  # nobody here lets go of a port
states = []
print("ready", flush=True)
for line in sys.stdin:
    port, _, path = line.strip().partition(" ")
    states.append(StateFile(Path(path)))
    print(states[-1].port_from("gateway", int(port)), flush=True)
"""


@pytest.fixture
def own():
    return OwnPort()


class Chooser:
    """Another process that chooses ports."""

    def __init__(self, directory):
        self._directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHOOSER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ready(self):
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, port):
        self.process.stdin.write(f"{port} {self._directory / f'{self.process.pid}-{port}.json'}\n")
        self.process.stdin.flush()

    def answer(self):
        return int(self.process.stdout.readline())


@pytest.fixture
def start_choosers(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(count):
            made = [Chooser(tmp_path) for _ in range(count)]
            for each in made:
                stack.enter_context(each.process)
            for each in made:
                each.ready()
            return made

        yield start


def test_stacks_that_choose_at_the_same_moment_get_ports_of_their_own(start_choosers):
    choosers = start_choosers(PROCESSES)
    for own in [OwnPort() for _ in range(ROUNDS)]:
        for each in choosers:
            each.ask(own.number)
        chosen = [each.answer() for each in choosers]
        assert len(set(chosen)) == PROCESSES
        assert own.number in chosen


def test_a_port_is_free_again_when_its_holder_is_killed(start_choosers, own):
    (holder,) = start_choosers(1)
    holder.ask(own.number)
    assert holder.answer() == own.number
    assert not PortReservations().take(own.number)
    holder.process.kill()
    holder.process.wait()
    assert PortReservations().take(own.number)


def test_a_reserved_port_is_passed_over(tmp_path, own):
    other = PortReservations()
    assert other.take(own.number)
    assert PortReservations().first_free_from(own.number) == own.number + 1
    state = StateFile(tmp_path / "state.json")
    state.put("port", own.number)
    assert not state.take_port("port", own.number)
    assert state.port("port") != own.number
    del other
    assert StateFile(tmp_path / "other.json").take_port("port", own.number)


def test_a_port_that_somebody_listens_at_is_passed_over_and_not_kept(own):
    mine = PortReservations()
    with socket.create_server(("127.0.0.1", own.number)):
        assert not mine.take(own.number)
        assert mine.first_free_from(own.number) == own.number + 1
    assert PortReservations().take(own.number)


def test_a_port_stays_its_holders(tmp_path, own):
    state = StateFile(tmp_path / "state.json")
    assert state.take_port("gateway", own.number)
    assert state.port_from("gateway", 1) == own.number
    assert state.port("gateway") == own.number


def test_a_remembered_port_that_is_taken_gives_way_to_the_next(tmp_path, own):
    StateFile(tmp_path / "state.json").put("gateway", own.number)
    with socket.create_server(("127.0.0.1", own.number)):
        assert StateFile(tmp_path / "state.json").port_from("gateway", 1) == own.number + 1
    assert StateFile(tmp_path / "state.json").remembered_port("gateway") == own.number + 1


def test_ports_end_with_the_last(monkeypatch):
    reservations = PortReservations("of one test")
    monkeypatch.setattr(ports, "is_free", lambda port: port != ports.LAST_PORT)
    with pytest.raises(NoFreePortError, match="all ports from 65535 to 65535"):
        reservations.first_free_from(ports.LAST_PORT)


def test_where_nothing_can_be_reserved_ports_are_looked_at(monkeypatch, own):
    monkeypatch.setattr(ports, "CAN_RESERVE", False)
    assert PortReservations().take(own.number)
    with socket.create_server(("127.0.0.1", own.number)):
        assert not PortReservations().take(own.number)


def test_own_ports_of_tests_differ_and_can_be_had_by_a_stack():
    own = [OwnPort() for _ in range(20)]
    numbers = {each.number for each in own}
    assert len(numbers) == 20
    reservations = PortReservations()
    assert all(reservations.take(number) for number in numbers)
