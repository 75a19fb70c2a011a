"""The child's environment variables: those that the settings allow, and directories for libraries in `tmp`."""

import os
import tempfile
from collections.abc import Mapping
from typing import Final

from tidemill.model.sandbox.way_out import proxy_variables

# Libraries with a cache variable of their own; the others use XDG_CACHE_HOME or HOME.
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
# The uid has no entry in /etc/passwd; getpass.getuser() reads these first.
_USER: Final = {"USER": "model", "LOGNAME": "model"}
_BASE: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


def complete(allowed: Mapping[str, str], tmp: str, threads: int | None, *, way_out: bool = False) -> dict[str, str]:
    """Return the whole environment of a child. `allowed` takes precedence, except over `tmp` and the proxy."""
    caches = {name: f"{tmp}/{place}" for name, place in _CACHES.items()}
    pools = {} if threads is None else {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    proxies = proxy_variables() if way_out else {}
    return {**_BASE, **_USER, **caches, **pools, **allowed, **proxies, **dict.fromkeys(_PLACES, tmp)}


def install(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # reset the zygote's cached value
