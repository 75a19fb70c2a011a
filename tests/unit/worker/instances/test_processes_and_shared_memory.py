"""Whose a process is when its parents are gone, and what of memory no process has mapped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tidemill.worker.instances import processes, usage
from tidemill.worker.instances.processes import RootProcess, family

MIB = 1 << 20
OWN_UID = 310_000 + os.getpid() % 50_000

HIDING = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        held = bytearray({size})
        held[::4096] = b"x" * len(held[::4096])
        os.close(2)  # the last of the reader's
        time.sleep(60)
    os._exit(0)
os.wait()
os.close(2)
time.sleep(60)
"""
APART = """
import os
from tidemill.model.sandbox import syscalls
syscalls.unshare(syscalls.CLONE_NEWNET)
"""
UID = f"""
import os
os.setresgid({OWN_UID}, {OWN_UID}, {OWN_UID})
os.setresuid({OWN_UID}, {OWN_UID}, {OWN_UID})
"""


def running(program):
    """Once it has closed its standard error."""
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    said = process.stderr.read()
    assert said == b"", said.decode()
    return process


def end(pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and uids are root's to give")
@pytest.mark.parametrize(("mark", "uid"), [(APART, None), (UID, OWN_UID)], ids=["apart", "uid"])
def test_an_orphan_in_a_session_of_its_own_is_the_instances_still(mark, uid):
    with running(mark + HIDING.format(size=64 * MIB)) as child, running(APART + HIDING.format(size=1)) as other:
        mine, others = processes.of_instances([RootProcess(child.pid, uid), RootProcess(other.pid)])
        try:
            assert family(child.pid) == [child.pid]
            assert mine[0] == child.pid
            assert len(mine) == len(others) == 2
            assert 64 * MIB < usage.memory_bytes(mine, 1) < 128 * MIB
        finally:
            end([*mine, *others])


def test_without_a_mark_of_its_own_the_tree_of_parents_is_counted():
    with subprocess.Popen(["sleep", "60"]) as child:
        assert processes.of_instances([RootProcess(child.pid)]) == [[child.pid]]
        child.kill()


MEMFD = """
import os, time
held = os.memfd_create("x")
os.write(held, bytes({size}))
if os.fork() == 0:
    os.close(2)
    time.sleep(60)
os.close(2)
time.sleep(60)
"""


def test_a_memfd_counts_once_whoever_has_it_open():
    with running(MEMFD.format(size=64 * MIB)) as child:
        both = family(child.pid)
        try:
            assert len(both) == 2
            assert usage.files_in_memory_bytes(both) == 64 * MIB
            assert 64 * MIB < usage.memory_bytes(both, 1) < 96 * MIB
        finally:
            end(both)


MAPPED = """
import mmap, os, time
held = os.memfd_create("x")
os.ftruncate(held, {size})
shared = mmap.mmap(held, {size})
apart = mmap.mmap(-1, {size})
for each in (shared, apart):
    each[::4096] = b"x" * len(each[::4096])
os.close(2)
time.sleep(60)
"""


def test_what_is_mapped_and_open_counts_once_and_what_is_shared_otherwise_beside_it():
    with running(MAPPED.format(size=64 * MIB)) as child:
        pids = [child.pid]
        try:
            assert usage.memory_bytes(pids, 1 << 40) > 3 * 64 * MIB  # below the limit nobody looks closely
            assert 2 * 64 * MIB < usage.memory_bytes(pids, 150 * MIB) < 150 * MIB
            assert usage.memory_bytes(pids, 1) > 2 * 64 * MIB  # over it in any case
        finally:
            end(pids)


SHARED_MEMORY = """
import os, time
from tidemill.model.sandbox import syscalls
syscalls.unshare(syscalls.CLONE_NEWNS)
syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
syscalls.mount("shm", "/dev/shm", "tmpfs", 0, "size=1g")
held = open("/dev/shm/held", "wb")
held.write(bytes({size}))
held.flush()
os.unlink("/dev/shm/held")
os.close(2)
time.sleep(60)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting is root's")
def test_files_of_a_shared_memory_of_its_own_count_deleted_ones_too():
    with running(SHARED_MEMORY.format(size=64 * MIB)) as child:
        try:
            assert usage.files_in_memory_bytes([child.pid]) == 64 * MIB
        finally:
            end([child.pid])


def test_the_machines_own_shared_memory_is_nobodys():
    held = Path(f"/dev/shm/tidemill-test-{os.getpid()}")
    held.write_bytes(bytes(MIB))
    try:
        assert usage.files_in_memory_bytes([os.getpid()]) == 0
    finally:
        held.unlink()
