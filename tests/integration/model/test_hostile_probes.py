"""What hostile code tries, each probe with the layers that stop it: with all layers it is blocked, and with exactly
those off it goes through, or the test could not fail. As root, whose children have uids of their own, and as an
ordinary user, whose children live in user namespaces.

A layer in the table stands alone where it alone stops the probe. Where more are named, each of them would stop it.
"""

import contextlib
import ctypes
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

from tidemill.model.sandbox import landlock
from tidemill.model.sandbox.settings import FILES, IDENTITY, LAYERS, LIMITS, MOUNTS, NETWORK, SIGNALS, SYSCALLS
from tidemill.testing.processes import gives_namespaces

ORDINARY_UID = 65_432  # nobody's
FIRST_UID = 300_000  # another for each process that runs tests: the kernel counts processes by uid
SECRET = "the-workers-own-secret"
# Not below /tmp or /var/tmp: what lies there is out of sight for `mounts` too, and `files` must stop it alone.
ELSEWHERE = "/var/lib" if os.geteuid() == 0 else Path.home()
LIMITED = {"file_bytes": 1 << 20, "open_files": 64, "processes": 40, "data_bytes": 1 << 30}


class Probe(NamedTuple):
    """`root` and `user`: the layers that stop it there; None where there is nothing to stop, for the reason given."""

    code: str
    root: tuple[str, ...] | None
    user: tuple[str, ...] | None
    why_not: str = ""
    apart: bool = False  # what stops an ordinary user there takes namespaces, which some systems forbid him


# From Landlock ABI 9 on it also rules over sockets that have a path.
SOCKET_FILES = (MOUNTS, FILES) if landlock.abi() >= 9 else (MOUNTS,)

# {name} stands for what `Targets` has made.
PROBES = {
    # Files
    "read the password hashes": Probe(
        "open('/etc/shadow').read(1)", (FILES, IDENTITY), None, "an ordinary user may not read them anyway"
    ),
    "read the worker's key": Probe("assert open({key!r}).read()", (FILES, IDENTITY), (FILES,)),
    # A process in a user namespace of its own has no rights over one outside of it.
    "read the worker's environment": Probe(
        "assert {secret!r} in open(f'/proc/{{WORKER}}/environ').read()", (FILES, IDENTITY), (FILES, NETWORK, MOUNTS)
    ),
    "list other instances": Probe("assert os.listdir({others!r})", (FILES,), (FILES,)),
    "list processes": Probe("assert str(WORKER) in os.listdir('/proc')", (FILES,), (FILES,)),
    "read another instance's files": Probe("assert open({other!r}).read()", (FILES,), (FILES,)),
    "overwrite a file that all may write": Probe("open({other!r}, 'r+').write('x')", (FILES,), (FILES,)),
    "truncate a file that all may write": Probe("os.truncate({other!r}, 1)", (FILES,), (FILES,)),
    "write into the cache of models": Probe("open({others!r} + f'/{{os.getpid()}}', 'w').close()", (FILES,), (FILES,)),
    "write to the common /tmp": Probe("open({tmp!r}, 'r+').write('x')", (FILES, MOUNTS), (FILES, MOUNTS)),
    "write to the common /dev/shm": Probe("open({shm!r}, 'r+').write('x')", (FILES, MOUNTS), (FILES, MOUNTS)),
    "make a device": Probe(
        "os.mknod('sda', 0o60600, os.makedev(8, 0))", (FILES, IDENTITY), None, "an ordinary user may not make any"
    ),
    # Other processes
    "signal the worker": Probe("import signal; os.kill(WORKER, signal.SIGCONT)", (SIGNALS, IDENTITY), (SIGNALS,)),
    "change the worker's limits": Probe(
        "import resource; resource.prlimit(WORKER, resource.RLIMIT_CORE)", (SYSCALLS, IDENTITY), (SYSCALLS,)
    ),
    "memory that processes share by a key": Probe(
        "assert call({shmget}, {ipc}, 0, 0) >= 0", (MOUNTS,), (MOUNTS,), apart=True
    ),
    # Network
    "connect to the internet": Probe(
        "import socket; socket.create_connection({internet!r}, 2).close()", (NETWORK,), (NETWORK,)
    ),
    "connect to a server on loopback": Probe(
        "import socket; socket.create_connection({loopback!r}, 2).close()", (NETWORK,), (NETWORK,)
    ),
    "send a datagram": Probe(
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', {loopback!r})",
        (NETWORK,),
        (NETWORK,),
    ),
    "an abstract socket of the worker": Probe(
        "import socket; socket.socket(socket.AF_UNIX).connect({abstract!r})", (NETWORK,), (NETWORK,)
    ),
    "a socket with a path": Probe(
        "import socket; socket.socket(socket.AF_UNIX).connect({named!r})",
        SOCKET_FILES,
        SOCKET_FILES,
        apart=True,
    ),
    "listen where others could connect": Probe(
        "import socket; s = socket.socket(); s.bind(({internet!r}[0], 0)); s.listen()", (NETWORK,), (NETWORK,)
    ),
    "a raw socket": Probe(
        "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        (SYSCALLS, IDENTITY),
        None,
        "an ordinary user may not make any",
    ),
    "a socket into the host of the machine": Probe(
        "import socket; socket.socket(40, socket.SOCK_STREAM)", (SYSCALLS,), (SYSCALLS,)
    ),
    # Who it is
    "become root": Probe("os.setuid(0)", (IDENTITY,), None, "an ordinary user may not become root"),
    "give a file away": Probe("open('x', 'w').close(); os.chown('x', 1, 1)", (IDENTITY,), None, "only root may"),
    "change the root": Probe("os.chroot('.')", (SYSCALLS, IDENTITY), None, "only root may"),
    "rename the machine": Probe(
        "import socket; socket.sethostname(socket.gethostname())", (SYSCALLS, IDENTITY), None, "only root may"
    ),
    # Limits
    "a large file": Probe("open('big', 'wb').write(bytes(2 << 20))", (LIMITS,), (LIMITS,)),
    "many open files": Probe("held = [open('/dev/null') for _ in range(100)]", (LIMITS,), (LIMITS,)),
    "much memory": Probe("held = bytearray(2 << 30)", (LIMITS,), (LIMITS,)),
    "a fork bomb": Probe("[child() for _ in range(80)]", (LIMITS,), (LIMITS,), apart=True),
    # Doors of the kernel that models never use. Numbers are those of x86_64; the child they are tried on is its own,
    # so that nothing but the deny list can object.
    "ptrace": Probe("call(101, 16, child(), 0, 0)", (SYSCALLS,), (SYSCALLS,)),
    "read another process's memory": Probe(
        "b = ctypes.create_string_buffer(8); v = (ctypes.c_size_t * 2)(ctypes.addressof(b), 8); "
        "call(310, child(), v, 1, v, 1, 0)",
        (SYSCALLS,),
        (SYSCALLS,),
    ),
    "take another process's descriptors": Probe("call(438, os.pidfd_open(child()), 1, 0)", (SYSCALLS,), (SYSCALLS,)),
    "io_uring": Probe("call(425, 8, ctypes.create_string_buffer(120))", (SYSCALLS,), (SYSCALLS,)),
    "userfaultfd": Probe("call(323, 1)", (SYSCALLS,), (SYSCALLS,)),
    "keys of the kernel": Probe("call(250, 0, -3, 1)", (SYSCALLS,), (SYSCALLS,)),
    "handles of files": Probe(
        "h = (ctypes.c_uint * 40)(128); m = ctypes.c_int(); call(303, -100, b'/usr', h, ctypes.byref(m), 0)",
        (SYSCALLS,),
        (SYSCALLS,),
    ),
    "bpf": Probe(
        "call(321, 0, (ctypes.c_uint * 32)(2, 4, 4, 1), 128)", (SYSCALLS, IDENTITY), None, "the kernel asks for root"
    ),
    "load a kernel": Probe("call(246, 0, 0, 0, 0)", (SYSCALLS, IDENTITY), None, "the kernel asks for root"),
    "a new user namespace": Probe("call(272, 0x10000000)", (SYSCALLS,), (SYSCALLS,)),
    "a process in a new user namespace": Probe(
        "p = call(56, 0x10000000 | 17, 0, 0, 0, 0); p or os._exit(0)", (SYSCALLS,), (SYSCALLS,)
    ),
    # In a mount namespace of its own it could mount for itself alone, and that is the kernel's widest door.
    "mount": Probe(
        "os.mkdir('m'); call(165, b'none', b'm', b'tmpfs', 0, 0)",
        (SYSCALLS, FILES, IDENTITY),
        (SYSCALLS, FILES, IDENTITY),
    ),
}
SHMGET = 29


class Targets(NamedTuple):
    home: Path
    values: dict[str, object]


def _listeners(stack: contextlib.ExitStack, directory: Path) -> dict[str, object]:
    made: dict[str, object] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        try:
            route.connect(("192.0.2.1", 9))  # nothing is sent; it tells which address this machine would come from
            outward = route.getsockname()[0]
        except OSError:
            outward = "127.0.0.2"  # a machine without a network: as foreign as an address can be there
    addresses = {
        "internet": (socket.AF_INET, (outward, 0)),
        "loopback": (socket.AF_INET, ("127.0.0.1", 0)),
        "abstract": (socket.AF_UNIX, f"\0tidemill-hostile-{os.getpid()}"),
        "named": (socket.AF_UNIX, str(directory / "socket")),
    }
    for name, (family, address) in addresses.items():
        listener = stack.enter_context(socket.socket(family))
        listener.bind(address)
        listener.listen()
        made[name] = listener.getsockname()
    Path(str(made["named"])).chmod(0o777)
    return made


def _shared_memory(stack: contextlib.ExitStack) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    key = 0x7D000000 | os.getpid()
    identifier = libc.shmget(key, 4096, 0o1666)  # IPC_CREAT
    assert identifier >= 0
    stack.callback(libc.shmctl, identifier, 0, None)  # IPC_RMID
    return key


@pytest.fixture(scope="module")
def targets():
    """What there is to get at, outside of every sandbox and open to all, so that only the sandbox is in the way."""
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidemill-test-", dir=ELSEWHERE)))
        others = home / "others"
        others.mkdir()
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        values: dict[str, object] = {
            "others": str(others),
            "other": str(others / "weights"),
            "key": str(home / "key"),
            "tmp": stack.enter_context(tempfile.NamedTemporaryFile(dir="/tmp")).name,
            "shm": stack.enter_context(tempfile.NamedTemporaryFile(dir="/dev/shm")).name,
            "secret": SECRET,
            "sockets": str(sockets),
            "ipc": _shared_memory(stack),
            "shmget": SHMGET,
            **_listeners(stack, sockets),
        }
        for name in ("other", "tmp", "shm"):
            Path(str(values[name])).write_text("somebody's")
            Path(str(values[name])).chmod(0o666)
        for path in (home, sockets):
            path.chmod(0o755)
        others.chmod(0o777)
        Path(str(values["key"])).write_text("secret")
        Path(str(values["key"])).chmod(0o600)
        yield Targets(home, values)


def _attempts(targets: Targets, home: Path, probe: Probe, stops: tuple[str, ...], uid: int | None):
    """Without a sandbox, with all of it, with all but the layers that stop the probe."""
    code = probe.code.format(**targets.values)
    for number, off in enumerate((None, (), stops)):
        settings = {
            "tmp": str(home / str(number)),
            "uid": uid,
            "masked": ["/run", str(targets.values["sockets"])],
            "read": [str(Path(__file__).parent)],
            "limits": LIMITED,
            "layers": None if off is None else [layer for layer in LAYERS if layer not in off],
            "required": [],
        }
        yield {"code": code, "settings": settings}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of system calls are those of x86_64")
@pytest.mark.parametrize("who", ["root", "user"])
@pytest.mark.parametrize("name", PROBES)
def test_a_probe_is_blocked_by_its_layers_and_by_nothing_else(name, who, targets, run_driver, uid_of):
    probe, user = PROBES[name], uid_of(who, ORDINARY_UID)
    stops = probe.root if who == "root" else probe.user
    if stops is None:
        pytest.skip(probe.why_not)
    if probe.apart and who == "user" and not gives_namespaces(user):
        pytest.skip("this system forbids users namespaces: docs/sandbox.md says what is missing there")
    home = Path(tempfile.mkdtemp(dir=targets.home))
    home.chmod(0o755)
    if user is not None:
        os.chown(home, user, user)
        os.chown(str(targets.values["key"]), user, user)
    elif who == "root":
        os.chown(str(targets.values["key"]), 0, 0)
    uid = FIRST_UID + os.getpid() % 50_000 if who == "root" else None
    request = {"attempts": list(_attempts(targets, home, probe, stops, uid)), "user": user}
    bare, locked, opened = run_driver("hostile_driver.py", request, SECRET=SECRET)
    shutil.rmtree(home, ignore_errors=True)
    if bare != "went through":
        assert not bare.startswith("broken"), bare
        pytest.skip(f"this machine refuses it without a sandbox: {bare}")
    assert locked.startswith("blocked: "), locked
    assert opened == "went through", f"with {', '.join(stops)} off: {opened}"


@pytest.mark.parametrize("who", ["root", "user"])
def test_every_layer_has_a_probe_that_it_alone_stops_or_names_its_company(who):
    stopping = [probe.root if who == "root" else probe.user for probe in PROBES.values()]
    covered = {layer for stops in stopping if stops for layer in stops}
    assert covered == set(LAYERS)
