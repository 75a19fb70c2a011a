"""The names of source files in tracebacks and warnings as readers know them: the model's own by their place in its
directory, packages by theirs among the packages. Where an operator keeps all that is nobody else's matter. Pure.
"""

import re
from collections.abc import Iterable
from typing import Final

# As traceback, faulthandler and warnings write a place in a file.
_PLACE: Final = re.compile(r'(File "|^)(/[^"\n:]*)(", line \d+|:\d+: )', re.MULTILINE)
# What comes before a name that readers know: packages, an instance's folders, the standard library, and what is ours.
_BEFORE: Final = re.compile(
    r".*/(?:(?:site|dist)-packages|instances/[0-9a-z]{26}/(?:src|tmp)|lib/python3(?:\.\d+)?)/|.*/(?=tidemill/model/|cog/)"
)


def shorten_source_paths(text: str, own: Iterable[str] = ()) -> str:
    """`own` are absolute directories of the model."""
    if ".py" not in text:
        return text
    return _PLACE.sub(lambda found: f"{found[1]}{_name(found[2], own)}{found[3]}", text)


def _name(path: str, own: Iterable[str]) -> str:
    for directory in own:
        if path.startswith(f"{directory}/"):
            return path[len(directory) + 1 :]
    before = _BEFORE.match(path)
    return path.rpartition("/")[2] if before is None else path[before.end() :]
