"""Puts torch into this environment: `python -m tidemill.stack.torch_wheel`.

The lock leaves torch out, because its right build depends on the machine: one from the machine's own wheel links,
else the CPU or CUDA build that uv picks. Needs uv on PATH. It must leave an installed torch alone.
"""

import configparser
import importlib.util
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu/"
INDEX_TIMEOUT_S = 10.0
SKIP = "skip"
# Without numpy torch warns at every start and cannot exchange arrays with the packages that models use.
PACKAGES = ("torch", "numpy")


def wheel_links(environ: Mapping[str, str], configuration: Iterable[str]) -> list[str]:
    """Where pip would look for wheels, the environment first. `configuration` holds the texts of pip.conf files."""
    links = environ.get("PIP_FIND_LINKS", "").split()
    for text in configuration:
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read_string(text)
        except configparser.Error:
            continue
        for section in ("install", "global"):
            links += parser.get(section, "find-links", fallback="").split()
    return list(dict.fromkeys(links))


def pip_configuration(environ: Mapping[str, str], home: Path) -> list[str]:
    """The texts of pip's configuration files that exist, the user's first."""
    own = environ.get("XDG_CONFIG_HOME", str(home / ".config"))
    candidates = [
        environ.get("PIP_CONFIG_FILE", ""),
        f"{own}/pip/pip.conf",
        str(home / ".pip/pip.conf"),
        "/etc/pip.conf",
        "/etc/xdg/pip/pip.conf",
    ]
    files = [Path(candidate) for candidate in candidates if candidate]
    return [file.read_text(errors="replace") for file in files if file.is_file() and os.access(file, os.R_OK)]


def backend(*, has_gpu: bool, index_reachable: bool) -> list[str]:
    """The build that uv chooses; without PyTorch's own index only PyPI's, which is the large CUDA one on Linux."""
    if not index_reachable:
        return []
    return ["--torch-backend", "auto" if has_gpu else "cpu"]


def main() -> int:
    if os.environ.get("TIDEMILL_TORCH") == SKIP or importlib.util.find_spec("torch") is not None:
        return 0
    for link in wheel_links(os.environ, pip_configuration(os.environ, Path.home())):
        if _installs("--no-index", "--no-deps", "--find-links", link, "torch", quiet=True):
            _say(f"torch comes from {link}")
            return 0 if _installs("--find-links", link, *PACKAGES) else 1
    return _from_index()


def _from_index() -> int:
    reachable = _cpu_index_reachable()
    if reachable:
        _say("installing torch (some 200 MB for the CPU build; TIDEMILL_TORCH=skip leaves it out)")
    else:
        _say(f"{CPU_INDEX} cannot be reached: installing PyPI's build of torch, on Linux the large CUDA one (5 GB)")
    return 0 if _installs(*backend(has_gpu=_has_gpu(), index_reachable=reachable), *PACKAGES) else 1


def _installs(*arguments: str, quiet: bool = False) -> bool:
    command = ["uv", "pip", "install", "--python", sys.executable, *arguments]
    return subprocess.run(command, check=False, capture_output=quiet).returncode == 0


def _cpu_index_reachable() -> bool:
    try:
        with urllib.request.urlopen(CPU_INDEX, timeout=INDEX_TIMEOUT_S):
            return True
    except OSError:
        return False


def _has_gpu() -> bool:
    program = shutil.which("nvidia-smi")
    return program is not None and subprocess.run([program, "-L"], check=False, capture_output=True).returncode == 0


def _say(text: str) -> None:
    print(f"tidemill: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
