"""Zygotes and children that come, go, die and break the rules; other Pythons, an ordinary user, uvloop."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cog
import tidemill.model
from tidemill.model.host.zygote_process import ZygoteDiedError, ZygoteProcess
from tidemill.model.sandbox.settings import Sandbox
from tidemill.model.wire.spec import BootFrame, ChildSpec
from tidemill.testing.processes import runs
from tidemill.testing.running import until

USER = 64_242  # an ordinary user that nobody is


def open_descriptors(pid) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


async def test_ready_names_what_was_imported_and_what_was_not(shared_zygote):
    assert shared_zygote.modules["numpy"] > 0
    assert "ModuleNotFoundError" in shared_zygote.failed_modules["no_such_module"]


async def test_a_python_without_the_runtime_does_not_come_up():
    with pytest.raises(ZygoteDiedError):
        await ZygoteProcess.start(shutil.which("false"), preload=[], env={})


async def test_closing_ends_the_children(zygote_env, make_launcher):
    zygote = await ZygoteProcess.start(sys.executable, preload=[], env=zygote_env)
    launch = make_launcher(zygote)
    child, booting = await launch("proc_basic"), await launch.start("proc_basic")
    await zygote.close()
    await zygote.close()
    assert (await child.exit()).signal == signal.SIGKILL
    assert (await booting.exit()).signal == signal.SIGKILL
    with pytest.raises(ZygoteDiedError):
        await launch.start("proc_basic")


async def test_children_die_with_a_zygote_that_is_killed(zygote_env, make_launcher):
    zygote = await ZygoteProcess.start(sys.executable, preload=[], env=zygote_env)
    child = await make_launcher(zygote)("proc_basic")
    child.run("x", do="bar", seconds=600.0)
    await child.started("x")
    zygote.process.kill()
    ended = await child.exit()
    assert (ended.code, ended.signal) == (None, None)
    await zygote.dead
    await until("the child to be gone", lambda: not runs(child.process.pid))
    await zygote.close()


async def test_a_worker_that_vanishes_takes_all_with_it(zygote_env, common_directory):
    """Nothing outlives a worker that is killed: neither its zygote nor its children."""
    model = Path(__file__).parents[2] / "models" / "proc_basic"
    tmp = common_directory / "vanish"
    tmp.mkdir()
    script = f"""
import asyncio, sys
from tidemill.model.wire.spec import BootFrame, ChildSpec
from tidemill.model.host.zygote_process import ZygoteProcess
from tidemill.model.sandbox.settings import Sandbox
class Quiet:
    def on_frames(self, bodies, files): print(child.pid, zygote.process.pid, flush=True)
    def on_text(self, ids, text): pass
    def on_log_bytes(self, data): pass
    def on_exit(self, ended): pass
async def main():
    global child, zygote
    zygote = await ZygoteProcess.start(sys.executable, preload=[], env={zygote_env!r})
    spec = ChildSpec(Sandbox(tmp={str(tmp)!r}, read=({str(model)!r},), uid={230_001 if os.geteuid() == 0 else None}))
    child = await zygote.fork(spec, BootFrame("predict.py:Predictor", {str(model)!r}, {str(tmp)!r}), Quiet())
    await asyncio.sleep(600)
asyncio.run(main())
"""
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=subprocess.PIPE)
    pids = (await worker.stdout.readline()).split()
    worker.kill()
    await worker.communicate()
    await until("all to be gone", lambda: not any(runs(int(pid)) for pid in pids))


async def test_a_specification_that_cannot_be_entered_is_reported(launch):
    child = await launch.start("proc_basic", sandbox={"tmp": "/nonexistent"})
    failed = await child.booted()
    assert (failed["t"], failed["kind"]) == ("failed", "sandbox")
    assert "/nonexistent" in failed["error"]


async def test_a_child_that_breaks_the_rules_is_killed(launch):
    child = await launch("proc_basic")

    def reject(bodies):
        raise ValueError("not what was agreed")

    child.reject = reject
    child.run("x")
    ended = await child.exit()
    assert (ended.signal, ended.poisoned) == (signal.SIGKILL, "not what was agreed")


HOSTILE = """
import gc, os, socket
from tidemill.model.wire.channel import Channel
(channel,) = [o for o in gc.get_objects() if type(o) is Channel] or [None]
data = channel._data
"""


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        ("data.sendall(bytes([255, 255, 255, 255]))", "over the limit"),
        (
            "data.sendall(b'\\0\\x10\\0\\0')\nwhile True: socket.send_fds(data, [b'x'], [0] * 250)",
            "more files than it announced",
        ),
    ],
)
async def test_hostile_bytes_on_the_data_socket(launch, attack, reason):
    child = await launch("proc_basic")
    before = open_descriptors("self")
    child.run("x", do="probe", text="import gc; gc.unfreeze()\n" + HOSTILE + attack)
    ended = await child.exit()
    assert ended.signal == signal.SIGKILL
    assert reason in ended.poisoned
    assert open_descriptors("self") <= before - 3


async def test_a_child_that_closes_its_socket_is_ended(launch):
    child = await launch("proc_basic")
    attack = "import os\nfor fd in range(3, 100):\n    try: os.close(fd)\n    except OSError: pass\nwhile True: pass"
    child.run("x", do="probe", text=attack)
    assert (await child.exit()).signal == signal.SIGKILL


async def test_nothing_is_left_open(zygote_env, make_launcher):
    zygote = await ZygoteProcess.start(sys.executable, preload=[], env=zygote_env)
    launch = make_launcher(zygote)
    first = await launch("proc_basic")
    first.process.stop()
    await first.exit()
    before = open_descriptors("self")
    for _ in range(5):
        child = await launch("proc_basic")
        await child.predict("x", do="files", text="10")
        child.process.stop()
        await child.exit()
    assert open_descriptors("self") == before
    # The standard three and its socket.
    await until("the others to be closed", lambda: open_descriptors(zygote.process.pid) == 4)
    await zygote.close()


async def test_a_child_holds_no_descriptor_of_the_zygote_or_of_another_child(launch):
    await launch("proc_basic")
    child = await launch("proc_basic")
    code = "import os\nresult = sorted(int(n) for n in os.listdir('/proc/self/fd'))"
    done = await child.predict("x", do="probe", text=code)
    # 0, 1, 2, data, control, the text pipe, and the directory that is being listed
    assert len(done["output"]) == 7, done["output"]


async def test_many_forks_at_once(launch):
    children = await asyncio.gather(*(launch("proc_noop") for _ in range(12)))
    answers = await asyncio.gather(*(child.predict("x", text=str(n)) for n, child in enumerate(children)))
    assert [answer["output"] for answer in answers] == [str(n) for n in range(12)]


async def test_a_fork_that_is_given_up_leaves_no_child(launch, common_directory):
    def children() -> list[str]:
        pid = launch.zygote.process.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    before = children()
    for _ in range(5):
        task = asyncio.create_task(launch.start("proc_basic"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    child = await launch("proc_basic")
    child.process.kill()
    await child.exit()
    await until("no child to be left", lambda: children() == before)


def _copy_runtime(directory: Path) -> str:
    """For a user who cannot read the checkout."""
    for source, target in ((tidemill.model, "tidemill/model"), (cog, "cog")):
        shutil.copytree(Path(source.__file__).parent, directory / target, ignore=shutil.ignore_patterns("__pycache__"))
    return str(directory)


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv") or not Path("/usr/bin/python3").exists(),
    reason="needs root to become an ordinary user, and a Python that everybody may run",
)
async def test_an_ordinary_users_worker(common_directory, recorder):
    """User namespace instead of a uid; the same attempts fail."""
    home = common_directory / "user"
    home.mkdir()
    runtime = _copy_runtime(home / "runtime")
    model = shutil.copytree(Path(__file__).parents[2] / "models" / "proc_basic", home / "model")
    tmp = home / "tmp"
    tmp.mkdir()
    os.chown(tmp, USER, USER)
    wrapper = home / "python"
    privileges = f"--reuid {USER} --regid {USER} --clear-groups"
    wrapper.write_text(f'#!/bin/sh\nexec setpriv {privileges} /usr/bin/python3 "$@"\n')
    wrapper.chmod(0o755)
    zygote = await ZygoteProcess.start(str(wrapper), preload=[], env={"PYTHONPATH": runtime, "PATH": "/usr/bin:/bin"})
    try:
        await _probe_as_a_user(zygote, model, tmp, recorder)
    finally:
        await zygote.close()


async def _probe_as_a_user(zygote: ZygoteProcess, model: Path, tmp: Path, child) -> None:
    spec = ChildSpec(Sandbox(tmp=str(tmp), read=(str(model),)))
    child.process = await zygote.fork(spec, BootFrame("predict.py:Predictor", str(model), str(tmp)), child)
    ready = await child.booted()
    assert ready["t"] == "ready", (ready, child.frames)
    layers = {layer["name"]: layer["on"] for layer in ready["layers"]}
    assert layers.pop("identity") is False
    if not layers.pop("mounts"):
        pytest.skip("user namespaces are forbidden here")
    assert all(layers.values()), ready["layers"]
    attempts = [
        "import os; os.kill(os.getppid(), 0)",
        "import os; open(f'/proc/{os.getppid()}/environ').read()",
        "import os; os.listdir('/')",
        "open('/etc/shadow').read()",
        "import socket; socket.create_connection(('127.0.0.1', 9), 2)",
        "import os; os.setuid(0)",
        "import os; os.chroot(os.environ['TMPDIR'])",
    ]
    for number, attempt in enumerate(attempts):
        output = (await child.predict(str(number), do="probe", text=attempt))["output"]
        assert output.startswith("blocked: "), (attempt, output)
    child.run("x", do="bar", seconds=600.0)
    await child.started("x")
    child.process.cancel("x")
    assert (await child.done("x"))["status"] == "canceled"
    assert (await child.predict("f", do="file", text="mine"))["status"] == "succeeded"
    assert child.files["f"] == [b"mine"]
    child.process.kill()
    await child.exit()


def _other_pythons() -> list[str]:
    names = ("python3.10", "python3.12", "python3.13", "python3.14")
    found = [path for name in names if (path := shutil.which(name))]
    found += [str(path) for path in Path.home().glob(".pyenv/versions/3.1[0-9].*/bin/python3")]
    runs = []
    for path in found:
        version = subprocess.run(
            [path, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True
        )
        if version.returncode == 0 and version.stdout.strip() != str(sys.version_info[:2]):
            runs.append(path)
    return runs


@pytest.mark.parametrize("python", _other_pythons())
@pytest.mark.parametrize("model", ["proc_basic", "proc_async"])
async def test_other_pythons(python, model, zygote_env, make_launcher):
    zygote = await ZygoteProcess.start(python, preload=[], env=zygote_env)
    try:
        launch = make_launcher(zygote)
        child = await launch(model)
        assert (await child.predict("x", text="hello"))["output"] == "hello"
        assert (await child.predict("y", do="fail", text="boom"))["error"] == "boom"
        slow = "sleep" if model == "proc_basic" else "together"
        child.run("z", do=slow, seconds=600.0)
        child.process.cancel("z")
        assert (await child.done("z"))["status"] == "canceled"
        await launch.end_all()
    finally:
        await zygote.close()


def test_under_uvloop(common_directory, zygote_env):
    """In a process of its own: this one has a loop already."""
    bench = Path(__file__).parents[2] / "load" / "child_bench.py"
    pytest.importorskip("uvloop")
    model = Path(__file__).parents[2] / "models" / "proc_noop"
    script = f"""
import asyncio, runpy, sys, uvloop, tempfile, pathlib
bench = runpy.run_path({str(bench)!r})
bench["measure_predictions"].__globals__["PREDICTIONS"] = 500
async def main():
    tmp = pathlib.Path(tempfile.mkdtemp(dir={str(common_directory)!r}))
    zygote = await bench["ZygoteProcess"].start(sys.executable, preload=[], env={zygote_env!r})
    await bench["measure_predictions"](zygote, tmp, 16, 0)
    await zygote.close()
uvloop.run(main())
"""
    assert model.exists()
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert " 16 ahead" in result.stdout
