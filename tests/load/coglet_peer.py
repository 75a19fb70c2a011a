"""coglet as a peer to compare with, in a virtual environment of its own that is kept between runs."""

import contextlib
import os
import subprocess
import sys
import time
from typing import NamedTuple

import uv

from tidemill.stack.processes.ports import PortReservations

COGLET = "0.23.1"


def peer_python(cache, *packages, borrowed=None):
    """The interpreter of an environment with coglet and `packages`.

    `borrowed` is a directory of packages (torch, numpy) that it uses too, behind its own: the peer then runs the very
    same files.
    """
    environment = cache / (f"coglet-{COGLET}" if not packages else f"coglet-{COGLET}-{'-'.join(packages)}")
    python = environment / "bin" / "python"
    if python.exists():
        return python
    subprocess.run([uv.find_uv_bin(), "venv", "-q", "--python", sys.executable, str(environment)], check=True)
    wanted = [f"cog=={COGLET}", f"coglet=={COGLET}", *packages]
    subprocess.run([uv.find_uv_bin(), "pip", "install", "-q", "--python", str(python), *wanted], check=True)
    if borrowed is not None:
        (site,) = environment.glob("lib/python*/site-packages")
        (site / "borrowed.pth").write_text(f"{borrowed}\n")
    return python


class Peer(NamedTuple):
    """A server whose process was started at that moment of `time.perf_counter`; it need not be up yet."""

    url: str  # of its predictions
    pid: int
    started_at: float


@contextlib.contextmanager
def running_peer(python, directory, predictor, log, settings=None):
    """One that runs this class of the directory's predict.py."""
    reservations = PortReservations()
    port = reservations.choose()
    env = {
        # What Python was told for us, such as where to look for modules, is not for the peer.
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "PORT": str(port),
        "COG_LOG_LEVEL": "error",
        "COG_PREDICT_TYPE_STUB": f"predict.py:{predictor}",
        **(settings or {}),
    }
    command = [str(python), "-m", "cog.server.http", "--host", "127.0.0.1"]
    started_at = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=directory, env=env, stdout=output, stderr=output)
    try:
        yield Peer(f"http://127.0.0.1:{port}/predictions", process.pid, started_at)
    finally:
        process.terminate()
        process.wait()
