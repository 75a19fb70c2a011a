"""What a model can do to its working directory, and cannot do to the version's files behind it: as root and as an
ordinary user, with namespaces and without.
"""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from tidemill.model.host import working_directory
from tidemill.model.sandbox import entry
from tidemill.model.sandbox.settings import Sandbox

ORDINARY_UID = 219_980

# The kernel of some systems forbids an ordinary user namespaces; here that is played.
PROGRAM = """
import json, os, sys
from tidemill.model.sandbox import namespaces
from tidemill.model.sandbox import entry
from tidemill.model.sandbox import settings
if sys.argv[2] == "without":
    def forbidden(**_):
        raise PermissionError(1, "Operation not permitted")
    namespaces.unshare = forbidden
settings = settings.Sandbox.from_json(json.loads(sys.argv[1]))
layers = {layer.name: layer.on for layer in entry.enter(settings)}
os.chdir(settings.work)
version = settings.read[0]

def may(what):
    try:
        what()
    except OSError:
        return False
    return True

def unprotected(path, mode):
    os.chmod(path, mode)
    open(path, "ab").write(b"x")

answers = {
    "mounts": layers["mounts"],
    "write beside the model": may(lambda: open("out.png", "w").write("x")),
    "write into a directory of the model's": may(lambda: open("lib/out.png", "w").write("x")),
    "change a file of the model's": may(lambda: open("predict.py", "a").write("x")),
    "read the weights": may(lambda: open("weights.bin", "rb").read()),
    "replace the weights": may(lambda: os.rename("out.png", "weights.bin")),
    "write through the link": may(lambda: open("lib/more.bin", "ab").write(b"x")),
    "write to the cache": may(lambda: open(version + "/predict.py", "a").write("x")),
    "write to the cache after a chmod": may(lambda: unprotected(version + "/predict.py", 0o666)),
    "add to the cache": may(lambda: open(version + "/new", "w").write("x")),
    "hard link the cache": may(lambda: os.link(version + "/weights.bin", "mine.bin")),
    "truncate the cache": may(lambda: os.truncate(version + "/weights.bin", 0)),
    "move the cache": may(lambda: os.rename(version + "/weights.bin", "moved.bin")),
}
print(json.dumps(answers))
"""
ALLOWED = {
    "write beside the model",
    "write into a directory of the model's",
    "change a file of the model's",
    "read the weights",
    "replace the weights",
}


@pytest.fixture
def version(common_directory):
    directory = Path(tempfile.mkdtemp(dir=common_directory))
    directory.chmod(0o755)
    version = directory / "version"
    (version / "lib").mkdir(parents=True)
    (version / "predict.py").write_text("x = 1\n")
    for name in ("weights.bin", "lib/more.bin"):
        (version / name).write_bytes(bytes(working_directory.COPIED_FILE_LIMIT_BYTES + 1))
    for file in version.rglob("*.*"):
        file.chmod(0o444)
    yield version
    shutil.rmtree(directory)


def content(version):
    return {path.name: path.read_bytes() for path in version.rglob("*") if path.is_file()}


@pytest.mark.parametrize("namespaces", ["with", "without"])
@pytest.mark.parametrize("worker", ["root", "an ordinary user"])
async def test_a_working_directory_is_written_and_the_cache_is_not(
    zygote_env, common_directory, version, worker, namespaces
):
    root = worker == "root"
    if root and os.geteuid():
        pytest.skip("this is an ordinary user's run")
    interpreter = sys.executable if root else _open_interpreter()
    if interpreter is None:
        pytest.skip("no interpreter or runtime here is open to another user")
    before = content(version)
    home = Path(tempfile.mkdtemp(dir=common_directory))
    home.chmod(0o755)
    tmp, work = home / "tmp", home / "src"
    tmp.mkdir()
    uid = ORDINARY_UID if os.geteuid() == 0 else None
    working_directory.make(version, work, uid)
    if not root and uid is not None:  # all that a worker of this user would own, the cache too
        for path in (home, tmp, version, *version.rglob("*")):
            os.chown(path, uid, uid)
    settings = Sandbox(tmp=str(tmp), work=str(work), read=(str(version),), uid=uid if root else None)
    process = await asyncio.create_subprocess_exec(
        *(interpreter, "-c", PROGRAM, json.dumps(settings.to_json()), namespaces),
        env=zygote_env,
        cwd="/",
        stdout=asyncio.subprocess.PIPE,
        **({} if root or uid is None else {"user": uid, "group": uid, "extra_groups": []}),
    )
    answers = json.loads((await process.communicate())[0])
    assert not (answers.pop("mounts") and namespaces == "without")
    assert {what for what, could in answers.items() if could} == ALLOWED
    assert content(version) == before


def _open_interpreter() -> str | None:
    """One that every user may execute, with a runtime that every user may read: root often has both below its home."""
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        path = Path(candidate).resolve()
        if path.exists() and (os.geteuid() or (_open_to_all(path) and _open_to_all(Path(entry.__file__)))):
            return candidate if os.geteuid() else str(path)
    return None


def _open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)
