"""The child's environment: what the settings allow, and where libraries may write, all inside its own directory."""

import os
import tempfile
from collections.abc import Mapping
from typing import Final

from tidemill.model.sandbox.way_out import variables

# Libraries that cache somewhere of their own; the rest follow XDG_CACHE_HOME or HOME.
_CACHES: Final = {
    "XDG_CACHE_HOME": "cache",
    "XDG_CONFIG_HOME": "config",
    "XDG_DATA_HOME": "share",
    "HF_HOME": "cache/huggingface",
    "TORCH_HOME": "cache/torch",
    "TORCHINDUCTOR_CACHE_DIR": "cache/inductor",
    "TRITON_CACHE_DIR": "cache/triton",
    "CUDA_CACHE_PATH": "cache/cuda",
    "NUMBA_CACHE_DIR": "cache/numba",
    "MPLCONFIGDIR": "config/matplotlib",
}
_PLACES: Final = ("HOME", "TMPDIR", "TEMP", "TMP")
# The uid has no entry in /etc/passwd; getpass.getuser() looks here first.
_USER: Final = {"USER": "model", "LOGNAME": "model"}
_BASE: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


def complete(allowed: Mapping[str, str], tmp: str, threads: int | None, *, way_out: bool = False) -> dict[str, str]:
    """The whole environment of a child; what `allowed` names wins, but for the places that only `tmp` can be."""
    caches = {name: f"{tmp}/{place}" for name, place in _CACHES.items()}
    pools = {} if threads is None else {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    proxies = variables() if way_out else {}
    return {**_BASE, **_USER, **caches, **pools, **allowed, **proxies, **dict.fromkeys(_PLACES, tmp)}


def install(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # forget what the zygote may have looked up
