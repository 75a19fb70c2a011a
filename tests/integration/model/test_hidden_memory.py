"""Ways in which a model may hide memory from its limit, in its real sandbox: all of it must be counted."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tidemill.model.sandbox.settings import IDENTITY, LAYERS, MOUNTS, NETWORK
from tidemill.testing.processes import gives_namespaces

ORDINARY_UID = 65_433
UID = 330_000 + os.getpid() % 50_000
ELSEWHERE = "/var/lib" if os.geteuid() == 0 else Path.home()
SIZE = 96 << 20
ORPHAN = f"""
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        held = fill({SIZE})
        os.write(write, b".")
        time.sleep(60)
    os._exit(0)
os.wait()
os.read(read, 1)
"""
HIDDEN = {
    "by grandchildren that give up their parent": ORPHAN,
    "in a memfd": f"held = os.memfd_create('x'); os.write(held, bytes({SIZE}))",
    "in a memfd of a process that nobody may look at": (
        f"ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); held = os.memfd_create('x'); os.write(held, bytes({SIZE}))"
    ),
    "in files of /dev/shm": f"open('/dev/shm/held', 'wb').write(bytes({SIZE}))",
    "in a deleted file of /dev/shm": (
        f"held = open('/dev/shm/held', 'wb'); held.write(bytes({SIZE})); held.flush(); os.unlink('/dev/shm/held')"
    ),
    "in memory that processes share": f"held = mmap.mmap(-1, {SIZE}); held[::4096] = b'x' * ({SIZE} // 4096)",
}
PRIVATE_MOUNTS = ("in files of /dev/shm", "in a deleted file of /dev/shm")


@pytest.fixture
def home():
    made = Path(tempfile.mkdtemp(prefix="tidemill-test-", dir=ELSEWHERE))
    made.chmod(0o777)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def drive(home, run_driver):
    """Run code in a sandbox below `home`, as the uid `user`."""

    def run(code, user, layers=LAYERS):
        settings = {"tmp": str(home / "tmp"), "uid": UID, "layers": list(layers), "required": []}
        return run_driver("hidden_memory_driver.py", {"code": code, "settings": settings, "user": user})

    return run


@pytest.fixture
def uid_with_namespaces(uid_of):
    """As uid_of; skip where an ordinary user may make no namespaces."""

    def uid(who):
        user = uid_of(who, ORDINARY_UID)
        if who == "user" and not gives_namespaces(user):
            pytest.skip("this system forbids users namespaces: docs/sandbox.md says what is missing there")
        return user

    return uid


@pytest.mark.parametrize("who", ["root", "user"])
@pytest.mark.parametrize("where", HIDDEN)
def test_memory_is_counted_that_hides(where, who, drive, uid_with_namespaces):
    found = drive(HIDDEN[where], uid_with_namespaces(who))
    assert found["said"] == "."
    assert SIZE <= found["counted"] < 2 * SIZE


@pytest.mark.parametrize("where", ["by grandchildren that give up their parent"])
def test_without_namespaces_and_a_uid_the_tree_of_parents_misses_it(where, drive):
    layers = [layer for layer in LAYERS if layer not in {NETWORK, MOUNTS, IDENTITY}]
    assert drive(HIDDEN[where], None, layers)["counted"] < SIZE


@pytest.mark.parametrize("who", ["root", "user"])
def test_memory_that_is_shared_by_a_key_is_bounded(who, drive, uid_with_namespaces):
    code = f"assert ctypes.CDLL(None).shmget(0, {SIZE}, 0o1600) < 0"
    assert drive(code, uid_with_namespaces(who))["said"] == "."
