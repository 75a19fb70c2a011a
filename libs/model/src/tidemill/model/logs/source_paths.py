"""Shortens source paths in tracebacks and warnings: a model's file to its path in the model's directory, a package's
file to its path below site-packages. So logs do not show the directories of the operator. Pure; the worker uses it too.
"""

import re
from collections.abc import Iterable
from typing import Final

# A file and line, as traceback, faulthandler and warnings write them.
_PLACE: Final = re.compile(r'(File "|^)(/[^"\n:]*)(", line \d+|:\d+: )', re.MULTILINE)
# The prefix to remove: of packages, an instance's folders, the standard library, and this package.
_BEFORE: Final = re.compile(
    r".*/(?:(?:site|dist)-packages|instances/[0-9a-z]{26}/(?:src|tmp)|lib/python3(?:\.\d+)?)/|.*/(?=tidemill/model/|cog/)"
)


def shorten_source_paths(text: str, own: Iterable[str] = ()) -> str:
    """Return the text with short paths. `own` are absolute directories of the model."""
    if ".py" not in text:
        return text
    return _PLACE.sub(lambda found: f"{found[1]}{_short_name(found[2], own)}{found[3]}", text)


def _short_name(path: str, own: Iterable[str]) -> str:
    for directory in own:
        if path.startswith(f"{directory}/"):
            return path[len(directory) + 1 :]
    before = _BEFORE.match(path)
    return path.rpartition("/")[2] if before is None else path[before.end() :]
