"""coglet as a peer to compare with, in a virtual environment of its own that is kept between runs."""

import socket
import subprocess
import sys

import uv

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


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
