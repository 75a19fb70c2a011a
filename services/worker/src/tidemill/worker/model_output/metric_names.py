"""Nests metrics with dotted names, as Cog's API shows them. Pure.

The child refuses names that collide. A hostile child's colliding names stay as they are.
"""

from collections.abc import Mapping
from typing import Any, Final

LEVELS_LIMIT: Final = 4  # our own child allows no more


def nested(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `{"tokens": {"output": 5}}` for `{"tokens.output": 5}`; the same object if no name has a dot."""
    if not any("." in name for name in metrics):
        return metrics
    found: dict[str, Any] = {name: value for name, value in metrics.items() if "." not in name}
    made: list[dict[str, Any]] = []  # levels that we made; a dict that the model recorded takes no names
    for name, value in metrics.items():
        if "." in name and not _put(found, name.split("."), value, made):
            found[name] = value
    return found


def _put(found: dict[str, Any], names: list[str], value: Any, made: list[dict[str, Any]]) -> bool:
    if len(names) > LEVELS_LIMIT:
        return False
    level = found
    for name in names[:-1]:
        inner = level.get(name)
        if inner is None:
            inner = level[name] = {}
            made.append(inner)
        elif not any(inner is each for each in made):
            return False
        level = inner
    if names[-1] in level:
        return False
    level[names[-1]] = value
    return True
