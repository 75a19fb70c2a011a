"""Which environment variables a model's author or owner may set, and which belong to the platform. Pure."""

import re
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# These decide what the child itself loads and which variables the platform speaks through.
RESERVED_PREFIXES: Final = ("TIDEMILL_", "COG_", "LD_", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP")
RESERVED: Final = frozenset({"PATH", "HOME", "TMPDIR", "VIRTUAL_ENV"})


def is_variable_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def is_reserved(name: str) -> bool:
    """The platform sets it itself."""
    return name in RESERVED or name.startswith(RESERVED_PREFIXES)
