"""Which environment variables a model may set, and which are reserved for the platform. Pure."""

import re
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# These control what the child process loads, or carry settings of the platform.
RESERVED_PREFIXES: Final = ("TIDEMILL_", "COG_", "LD_", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP")
RESERVED: Final = frozenset({"PATH", "HOME", "TMPDIR", "VIRTUAL_ENV"})


def is_variable_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def is_reserved(name: str) -> bool:
    """Return whether only the platform may set the variable."""
    return name in RESERVED or name.startswith(RESERVED_PREFIXES)
