"""What hostile model code tries, from inside a real child: each attempt must fail, and each must be worth trying."""

import ast
import asyncio
import errno
import json
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from tidemill.model.host.sandbox_probe import probe_layers
from tidemill.model.sandbox.settings import LAYERS, Sandbox
from tidemill.testing.processes import runs

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a child a uid of its own")

SYSCALL = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""

# Each ends with the line that must raise.
PROBES = {
    "read the password hashes": "open('/etc/shadow').read()",
    "read a private key's directory": "import os; os.listdir('/etc/ssl/private')",
    "read the worker's environment": "import os; open(f'/proc/{os.getppid()}/environ').read()",
    "read another process's memory": "import os; open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
    "list processes": "import os; os.listdir('/proc')",
    "signal the zygote": "import os, signal; os.kill(os.getppid(), signal.SIGCONT)",
    "list the root": "import os; os.listdir('/')",
    "list a home": "import os; os.listdir('/root')",
    "list another instance": "import os; os.listdir(os.path.dirname(os.environ['TMPDIR']) + '/other')",
    "write beside the model": "open(__import__('os').getcwd() + '/x', 'w')",
    "write to the system": "open('/usr/local/x', 'w')",
    "write to a home": "open('/root/x', 'w')",
    "truncate a system file": "import os; os.truncate('/etc/hosts', 0)",
    "make a device": "import os; os.mknod(os.environ['TMPDIR'] + '/sda', 0o60600, os.makedev(8, 0))",
    "raise a limit": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))",
    "a raw socket": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "a socket into the host of the machine": "import socket; socket.socket(40, socket.SOCK_STREAM)",
    "reach the internet": "import socket; socket.create_connection(('1.1.1.1', 53), 2)",
    "listen": "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0))",
    "send a datagram": "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    "ptrace": SYSCALL + "call(101, 16, os.getppid(), 0, 0)",
    "read memory by call": SYSCALL + "call(310, os.getppid(), 0, 0, 0, 0, 0)",
    "io_uring": SYSCALL + "call(425, 8, ctypes.create_string_buffer(120))",
    "bpf": SYSCALL + "call(321, 0, 0, 0)",
    "keyctl": SYSCALL + "call(250, 0, -3, 0)",
    "userfaultfd": SYSCALL + "call(323, 1)",
    "open by handle": SYSCALL + "call(304, 0, 0, 0)",
    "a new user namespace": SYSCALL + "call(272, 0x10000000)",
    "a clone in a new user namespace": SYSCALL + "call(56, 0x10000000 | 17, 0, 0, 0, 0)",
    "mount": SYSCALL + "call(165, b'none', b'/mnt', b'tmpfs', 0, 0)",
    "pidfd_getfd": SYSCALL + "call(438, 0, 0, 0)",
    "kexec": SYSCALL + "call(246, 0, 0, 0, 0)",
    "the other system call table": SYSCALL + "call(0x40000000 + 39)",
}
X86_ONLY = "call("
MODELS = Path(__file__).parents[2] / "models"


@pytest.mark.parametrize("probe", PROBES)
async def test_probe(launch, probe):
    code = PROBES[probe]
    if X86_ONLY in code and os.uname().machine != "x86_64":
        pytest.skip("the numbers are those of x86_64")
    child = await launch("proc_basic")
    (launch.directory / "other").mkdir(exist_ok=True)
    done = await child.predict("x", do="probe", text=code)
    assert str(done["output"]).startswith("blocked: "), done
    assert not str(done["output"]).startswith(("blocked: SyntaxError", "blocked: NameError")), done


@as_root
@pytest.mark.parametrize(
    "code", ["import os; os.setuid(0)", "import os; os.chown(os.environ['TMPDIR'], 0, 0)", "import os; os.chroot('/')"]
)
async def test_no_privilege_is_left(launch, code):
    child = await launch("proc_basic")
    assert (await child.predict("x", do="probe", text=code))["output"].startswith("blocked: ")


@as_root
async def test_the_child_has_its_own_uid_no_groups_and_one_capability_at_most(launch):
    child = await launch("proc_basic")
    code = "result = open('/proc/self/status').read()"
    status = dict(
        line.split(":\t", 1) for line in (await child.predict("x", do="probe", text=code))["output"].splitlines()
    )
    assert set(status["Uid"].split()) == set(status["Gid"].split())
    assert int(status["Uid"].split()[0]) >= 220_000
    assert status["Groups"].split() == []
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh")} == {1 << 2}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


async def test_tcp_and_sockets_of_the_host_are_out_of_reach(launch, tmp_path):
    """The same attempts succeed from here, so it is the sandbox that stops them."""
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as abstract, socket.socket(socket.AF_UNIX) as named:
        tcp.bind(("127.0.0.1", 0))
        abstract.bind(f"\0tidemill-test-{os.getpid()}")
        with tempfile.TemporaryDirectory(dir="/run" if os.access("/run", os.W_OK) else "/tmp") as directory:
            Path(directory).chmod(0o755)
            path = f"{directory}/socket"
            named.bind(path)
            Path(path).chmod(0o777)
            for listener in (tcp, abstract, named):
                listener.listen()
            child = await launch("proc_basic", sandbox={"masked": ("/run", directory)})
            attempts = [
                f"import socket\nwith socket.create_connection({tcp.getsockname()!r}, 2): pass",
                f"import socket\nwith socket.socket(socket.AF_UNIX) as s: s.connect({abstract.getsockname()!r})",
                f"import socket\nwith socket.socket(socket.AF_UNIX) as s: s.connect({path!r})",
            ]
            for number, attempt in enumerate(attempts):
                exec(attempt, {})
                done = await child.predict(str(number), do="probe", text=attempt)
                assert done["output"].startswith("blocked: "), (attempt, done)


async def test_tmp_and_shared_memory_are_the_instances_own(launch):
    first, second = await launch("proc_basic"), await launch("proc_basic")
    if not first.has_own_mounts:
        attempt = "open('/tmp/tidemill-left', 'w')"
        assert (await first.predict("x", do="probe", text=attempt))["output"].startswith("blocked: ")
        return
    places = ("/tmp", "/dev/shm")
    write = f"for place in {places}: open(place + '/tidemill-left', 'w').write('x')\nresult = 'written'"
    assert (await first.predict("x", do="probe", text=write))["output"] == "written"
    look = f"import os\nresult = [os.path.exists(place + '/tidemill-left') for place in {places}]"
    assert (await second.predict("x", do="probe", text=look))["output"] == [False, False]
    assert not any((Path(place) / "tidemill-left").exists() for place in places)
    assert (await first.predict("y", do="probe", text=look))["output"] == [True, True]


@pytest.mark.parametrize("common", ["/tmp", "/var/tmp"])
async def test_what_lies_below_tmp_and_is_needed_stays_in_sight_and_unwritten(launch, common):
    """As with a checkout or a home there: next to it the child sees its own files only."""
    with tempfile.TemporaryDirectory(dir=common) as folder:
        names = ("tmp", "model/weights", "work", "others")
        tmp, weights, work, others = (Path(folder) / name for name in names)
        for place in (tmp, weights, work, others):
            place.mkdir(parents=True)
            (place / "kept").write_text(place.name)
            place.chmod(0o777)  # mode bits are not what protects it
            (place / "kept").chmod(0o666)
        Path(folder).chmod(0o755)
        settings = {"tmp": str(tmp), "work": str(work), "read": (str(MODELS), str(weights.parent), str(tmp / "kept"))}
        child = await launch("proc_basic", sandbox=settings)

        async def tried(code):
            return (await child.predict(code, do="probe", text=code))["output"]

        for place in (tmp, weights, work):
            assert await tried(f"result = open({str(place / 'kept')!r}).read()") == place.name
        assert "No such file" in await tried(f"open({str(others / 'kept')!r})") or not child.has_own_mounts
        for attempt in (f"open({str(weights / 'kept')!r}, 'w')", f"open({str(weights / 'new')!r}, 'w')"):
            assert (await tried(attempt)).startswith("blocked: ")
        assert await tried(f"open({str(work / 'new')!r}, 'w').write('x')") == "escaped"
        assert (work / "new").exists()
        if child.has_own_mounts:
            assert await tried(f"open({common!r} + '/mine', 'w').write('x')") == "escaped"
            assert (tmp / "mine").exists()
        await launch.end_all()


async def test_what_models_need_still_works(launch):
    child = await launch("proc_basic")
    needs = {
        "a late import": "import sqlite3, lzma, email.mime.text, xml.dom.minidom; result = 'ok'",
        "a subprocess of this Python": (
            "import subprocess, sys; result = subprocess.run([sys.executable, '-c', 'print(1)'], check=True,"
            " capture_output=True, text=True).stdout.strip().replace('1', 'ok')"
        ),
        "processes that share memory": (
            "import multiprocessing as m; c = m.get_context('fork'); q = c.Queue(); "
            "p = c.Process(target=lambda: q.put('ok')); p.start(); result = q.get(timeout=300); p.join()"
        ),
        "threads": "import concurrent.futures as f; result = f.ThreadPoolExecutor(4).submit(lambda: 'ok').result()",
        "certificates": "import ssl; ssl.create_default_context(); result = 'ok'",
        "the user's name": "import getpass; getpass.getuser(); result = 'ok'",
        "temporary files": "import tempfile; tempfile.NamedTemporaryFile().write(b'x'); result = 'ok'",
        "its own /proc": "open('/proc/self/maps').read(); open('/proc/cpuinfo').read(); result = 'ok'",
        "random devices": "open('/dev/urandom', 'rb').read(1); open('/dev/null', 'w').write('x'); result = 'ok'",
    }
    if not child.has_own_mounts:
        del needs["processes that share memory"]  # without a /dev/shm of its own it gets none
    for number, (name, code) in enumerate(needs.items()):
        done = await child.predict(str(number), do="probe", text=code)
        assert done["output"] == "ok", (name, done)


async def test_limits_hold(launch):
    limits = {"file_bytes": 1 << 20, "open_files": 64, "data_bytes": 1 << 30, "processes": 40}
    child = await launch("proc_basic", sandbox={"limits": _limits(limits)})
    attempts = {
        "a large file": "open(__import__('os').environ['TMPDIR'] + '/big', 'wb').write(bytes(2 << 20))",
        "many files": "held = [open('/dev/null') for _ in range(100)]",
        "much memory": "held = bytearray(2 << 30)",
        "many processes": (
            "import os, time, signal\n"
            "pids = []\n"
            "try:\n"
            "    for _ in range(80):\n"
            "        pid = os.fork()\n"
            "        if pid == 0:\n"
            "            time.sleep(60); os._exit(0)\n"
            "        pids.append(pid)\n"
            "finally:\n"
            "    for pid in pids: os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)\n"
        ),
    }
    if not child.has_own_mounts and os.geteuid():
        del attempts["many processes"]  # the uid is shared with everything else that the user runs
    for number, (name, code) in enumerate(attempts.items()):
        done = await child.predict(str(number), do="probe", text=code)
        assert done["output"].startswith("blocked: "), (name, done)


def _limits(settings):
    from tidemill.model.sandbox.limits import ResourceLimits

    return ResourceLimits(**settings)


async def test_a_link_out_of_the_sandbox_gives_nothing_that_the_child_could_not_read(launch):
    child = await launch("proc_basic")
    hidden = await child.predict("x", do="link", text="/etc/shadow")
    assert hidden["status"] == "failed"
    assert child.files == {}
    visible = await child.predict("y", do="link", text="/proc/self/status")
    assert visible["status"] == "succeeded"
    assert f"Pid:\t{child.process.pid}".encode() in child.files["y"][0]


async def test_a_missing_layer_that_is_required_ends_the_boot(launch):
    child = await launch.start("proc_basic", sandbox={"layers": ("files", "limits"), "required": LAYERS[:3]})
    failed = await child.booted()
    assert (failed["t"], failed["kind"]) == ("failed", "sandbox")
    assert "'network' is missing: switched off" in failed["error"]
    assert "'mounts'" in failed["error"]
    assert (await child.exit()).code == 70


WITHOUT_NAMESPACES = """
import json, socket, sys
from tidemill.model.sandbox import namespaces
from tidemill.model.sandbox import entry
from tidemill.model.sandbox import settings
def forbidden(**_):
    raise PermissionError(1, "Operation not permitted")
namespaces.unshare = forbidden
layers = entry.enter(settings.Sandbox.from_json(json.loads(sys.argv[1])))
print({layer.name: layer.on for layer in layers})
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):
    try:
        socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        print(error.errno)
socket.socketpair()
print("pair")
"""


async def test_where_namespaces_are_forbidden_there_are_no_sockets_at_all(zygote_env, common_directory):
    settings = Sandbox(tmp=tempfile.mkdtemp(dir=common_directory), uid=219_998 if os.geteuid() == 0 else None)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WITHOUT_NAMESPACES, json.dumps(settings.to_json())),
        env=zygote_env,
        stdout=asyncio.subprocess.PIPE,
    )
    lines = (await process.communicate())[0].decode().splitlines()
    layers = ast.literal_eval(lines[0])
    assert layers["network"]
    assert not layers["mounts"]
    assert lines[1:] == [str(errno.EAFNOSUPPORT)] * 4 + ["pair"]


WITHOUT_SCOPES = """
import json, os, signal, sys, time
from tidemill.model.sandbox import landlock
from tidemill.model.sandbox import entry
from tidemill.model.sandbox import settings
landlock.scopes_signals = lambda version: False
landlock.Restrictions = lambda **given: REACH(**{**given, "signals": False})
layers = entry.enter(settings.Sandbox.from_json(json.loads(sys.argv[1])))
print({layer.name: layer.on for layer in layers})
signal.signal(signal.SIGUSR1, lambda *_: print("to itself", flush=True))
os.kill(os.getpid(), signal.SIGUSR1)
signal.raise_signal(signal.SIGUSR1)
child = os.fork()
if child == 0:
    time.sleep(60)
for pid in (os.getppid(), child, -1):
    try:
        os.kill(pid, 0)
    except OSError as error:
        print(error.errno, flush=True)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
os.kill(0, signal.SIGTERM)
"""


@pytest.mark.skipif(os.uname().machine not in {"x86_64", "aarch64"}, reason="no table of system calls")
async def test_where_neither_landlock_nor_a_uid_holds_signals_seccomp_does(zygote_env, common_directory):
    """As an ordinary user before Linux 6.12: here without a uid of its own, and with a Landlock that has no scopes."""
    settings = Sandbox(tmp=tempfile.mkdtemp(dir=common_directory))
    code = WITHOUT_SCOPES.replace("landlock.scopes", "REACH = landlock.Restrictions\nlandlock.scopes", 1)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, json.dumps(settings.to_json())),
        env=zygote_env,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    lines = (await process.communicate())[0].decode().splitlines()
    assert ast.literal_eval(lines[0])["signals"]
    assert lines[1:] == ["to itself", "to itself", *[str(errno.EPERM)] * 3]
    assert process.returncode == 0


async def test_a_child_that_kills_everybody_kills_nobody(launch):
    child, other = await launch("proc_basic"), await launch("proc_basic")
    done = await child.predict("x", do="probe", text="import os; os.kill(-1, 9); result = 'sent'")
    assert done["output"] in ("sent", "blocked: ProcessLookupError: [Errno 3] No such process")
    assert (await other.predict("y", text="alive"))["output"] == "alive"
    assert (await child.predict("y", text="alive"))["output"] == "alive"


async def test_what_a_dead_child_leaves_behind_is_ended(launch):
    child, other = await launch("proc_basic"), await launch("proc_basic")
    inside = (await child.predict("x", do="daemon"))["output"]
    kept = (await other.predict("y", do="daemon"))["output"]
    assert runs(inside)
    child.process.kill()
    await child.exit()
    async with asyncio.timeout(120):
        while runs(inside):
            await asyncio.sleep(0.01)
    assert runs(kept)
    assert (await other.predict("z", text="alive"))["output"] == "alive"


async def test_the_worker_can_ask_what_the_system_gives(zygote_env, common_directory):
    tmp = common_directory / "probe"
    tmp.mkdir()
    uid = 219_999 if os.geteuid() == 0 else None
    layers = await probe_layers(Sandbox(tmp=str(tmp), uid=uid), zygote_env)
    assert [layer.name for layer in layers] == list(LAYERS)
    assert all(layer.detail for layer in layers)
    assert {layer.name for layer in layers if layer.on} >= {"network", "files", "syscalls", "limits"}


async def test_signals_from_the_worker_still_arrive(launch):
    child = await launch("proc_basic")
    child.run("x", do="bar", seconds=600.0)
    await child.started("x")
    os.kill(child.process.pid, signal.SIGSTOP)
    child.process.kill()
    assert (await child.exit()).signal == signal.SIGKILL
