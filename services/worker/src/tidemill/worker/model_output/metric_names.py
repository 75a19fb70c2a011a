"""The metrics that a model records as the API shows them: dotted names nest, as in Cog. Pure.

The child refuses names that would be inside one another; a hostile one's stay as they came.
"""

from collections.abc import Mapping
from typing import Any, Final

LEVELS_LIMIT: Final = 4  # what an honest child's names have at most


def nested(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """`{"tokens.output": 5}` as `{"tokens": {"output": 5}}`; the same object where no name has a dot."""
    if not any("." in name for name in metrics):
        return metrics
    found: dict[str, Any] = {name: value for name, value in metrics.items() if "." not in name}
    made: list[dict[str, Any]] = []  # by us: a value that a model recorded is nobody's place
    for name, value in metrics.items():
        if "." in name and not _put(found, name.split("."), value, made):
            found[name] = value
    return found


def _put(found: dict[str, Any], names: list[str], value: Any, made: list[dict[str, Any]]) -> bool:
    if len(names) > LEVELS_LIMIT:
        return False
    place = found
    for name in names[:-1]:
        inner = place.get(name)
        if inner is None:
            inner = place[name] = {}
            made.append(inner)
        elif not any(inner is each for each in made):
            return False
        place = inner
    if names[-1] in place:
        return False
    place[names[-1]] = value
    return True
