import os
import signal
import subprocess
import sys

import pytest

from tidemill.contracts.errors import ErrorCode
from tidemill.hosting.child.failures import child_failure
from tidemill.model.host.child_events import ChildExit, Fault
from tidemill.model.host.read_budget import FLOODED
from tidemill.model.wire.channel import CLOSED, ORPHANED_EXIT_CODE
from tidemill.worker.instances import usage
from tidemill.worker.instances.crash_history import FIRST_WAIT_S, WAIT_LIMIT_S, CrashHistory
from tidemill.worker.instances.processes import family


def crashed(history, times, now=0.0):
    for _ in range(times):
        history.record_end("q", now, crashed=True, finished=0)


def test_two_crashes_cost_nothing_and_every_further_one_twice_as_long_up_to_a_limit():
    history = CrashHistory()
    assert history.backoff_s("q", 0) == 0
    waits = []
    for _ in range(12):
        crashed(history, 1)
        waits.append(history.backoff_s("q", 0))
    assert waits[:5] == [0, 0, FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S]
    assert waits[-1] == WAIT_LIMIT_S
    crashed(history, 6000)
    assert history.backoff_s("q", 0) == WAIT_LIMIT_S
    assert history.backoff_s("q", WAIT_LIMIT_S + 1) == 0
    assert history.backoff_s("other", 0) == 0


def test_what_has_finished_a_prediction_begins_anew():
    history = CrashHistory()
    crashed(history, 5)
    history.record_end("q", 0, crashed=True, finished=1)
    assert history.backoff_s("q", 0) == 0
    crashed(history, 5)
    history.record_end("q", 0, crashed=False, finished=0)  # it was stopped before anybody asked anything of it
    assert history.backoff_s("q", 0) > 0
    history.record_end("q", 0, crashed=False, finished=3)
    assert history.backoff_s("q", 0) == 0


@pytest.mark.parametrize(
    ("ended", "kernel_kills", "printed", "code", "error"),
    [
        (ChildExit(None, 9), 0, b"", ErrorCode.MODEL_CRASHED, "killed (signal 9)"),
        (ChildExit(None, 9), 2, b"", ErrorCode.OUT_OF_MEMORY, "The machine ran out of memory"),
        (ChildExit(None, 11), 2, b"", ErrorCode.MODEL_CRASHED, "signal 11"),
        (
            ChildExit(None, 6),
            0,
            b"terminate called after std::bad_alloc\n",
            ErrorCode.OUT_OF_MEMORY,
            "ran out of memory",
        ),
        (ChildExit(None, 6), 0, b"assertion failed", ErrorCode.MODEL_CRASHED, "signal 6"),
        (ChildExit(3, None), 0, b"out of memory", ErrorCode.MODEL_CRASHED, "exit status 3"),
        (ChildExit(None, 9, poisoned="it lied"), 1, b"", ErrorCode.MODEL_CRASHED, "protocol (it lied)"),
        (ChildExit(None, 9, poisoned=CLOSED, fault=Fault.CLOSED), 1, b"", ErrorCode.MODEL_CRASHED, f"ended: {CLOSED}."),
        (ChildExit(ORPHANED_EXIT_CODE, None), 0, b"", ErrorCode.MODEL_CRASHED, f"ended: {CLOSED}."),
        (
            ChildExit(None, 9, poisoned=FLOODED, fault=Fault.FLOOD),
            1,
            b"",
            ErrorCode.MODEL_FLOODED,
            "more than a worker takes",
        ),
        (ChildExit(None, None), 0, b"", ErrorCode.MODEL_CRASHED, "exit status None"),
    ],
)
def test_running_out_of_memory_is_told_from_a_crash(ended, kernel_kills, printed, code, error):
    told = child_failure(ended, kernel_kills=kernel_kills, printed=printed)
    assert told.code is code
    assert error in told.error
    assert told.final is (code is ErrorCode.MODEL_FLOODED)


HUNGRY = """
import time
held = bytearray(64 << 20)
held[::4096] = b"x" * len(held[::4096])
print(flush=True)
time.sleep(60)
"""


def test_memory_is_that_of_the_process_and_what_it_has_started():
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HUNGRY!r}])"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        try:
            parent.stdout.readline()
            assert len(family(parent.pid)) == 2
            assert 64 << 20 < usage.memory_bytes(family(parent.pid), 1) < 128 << 20
            assert usage.memory_bytes(family(parent.pid), 1 << 40) > 64 << 20
        finally:
            for pid in family(parent.pid):
                os.kill(pid, signal.SIGKILL)
    assert usage.memory_bytes(family(parent.pid), 1) == 0


FORKING = """
import os, time
held = bytearray(64 << 20)
held[::4096] = b"x" * len(held[::4096])
for _ in range(3):
    if os.fork() == 0:
        print(flush=True)
        time.sleep(60)
time.sleep(60)
"""


def test_pages_that_forks_share_count_once():
    with subprocess.Popen([sys.executable, "-c", FORKING], stdout=subprocess.PIPE) as parent:
        try:
            for _ in range(3):
                parent.stdout.readline()
            assert usage.memory_bytes(family(parent.pid), 1 << 40) > 4 * 64 << 20
            assert usage.memory_bytes(family(parent.pid), 1) < 2 * 64 << 20
        finally:
            for pid in family(parent.pid):
                os.kill(pid, signal.SIGKILL)


def test_disk_is_what_lies_below_and_no_link_is_followed(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "out").write_bytes(b"x" * (1 << 20))
    (tmp_path / "in" / "deep" / "file").write_bytes(b"x" * (1 << 18))
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    assert 1 << 18 <= usage.disk_bytes(tmp_path / "in", 1 << 30) < 1 << 19
    assert usage.disk_bytes(tmp_path / "none", 1 << 30) == 0


def test_the_kernels_count_never_falls():
    first = usage.kernel_kills()
    assert 0 <= first <= usage.kernel_kills()
