"""Errors of JSON Schema as `invalid_fields`: what is wrong with each field, and not that of several schemas none fits.

An `Optional` is two schemas, one of them null: what is said of it is what would be said without it. Pure.
"""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final

from tidemill.gateway.checks.keywords import Violation, flaws, wrong_type

ERRORS_LIMIT: Final = 20  # a wrong input of thousands of fields gets the first few
WAYS_LIMIT: Final = 3  # that a value of several schemas is told of
NEAR: Final = 0.7  # how alike two names must be for one to be taken for the other; `webhok` and `webhook` are 0.92
_ONE_OF: Final = frozenset({"anyOf", "oneOf"})

Field = dict[str, str]


def invalid_fields(errors: Iterable[Any], root: str, known: Iterable[str] = ()) -> list[Field]:
    """`root` stands before every path (`input`; empty for a body); `known` are names that a misspelt one may mean."""
    found: list[Field] = []
    names = list(known)
    for error in errors:
        for flaw in _told(error):
            if len(found) == ERRORS_LIMIT:
                return found
            field = _field(flaw, root, names)
            if field not in found:
                found.append(field)
    return found


def _field(flaw: Violation, root: str, known: Sequence[str]) -> Field:
    path = ".".join([*([root] if root else []), *map(str, flaw.path)])
    field = {"type": flaw.type, "field": path, "description": flaw.description}
    near = get_close_matches(flaw.property, known, 1, NEAR) if flaw.property is not None else []
    return {**field, "suggestion": near[0]} if near else field


def _told(error: Any) -> Iterator[Violation]:
    """The flaws behind an error, those of the meant schema where there are several to choose from."""
    if error.kind.name not in _ONE_OF:
        yield from flaws(error)
        return
    path = tuple(error.instance_path)
    ways = [[flaw for inner in way for flaw in _told(inner)] for way in error.kind.context]
    ways = [way for way in ways if way]
    meant = [way for way in ways if not _is_of_another_type(way, path)]
    if len(meant) == 1:
        yield from meant[0]
    elif meant or not ways:
        yield from _any_of(error, meant)
    else:
        yield _no_type(ways, path)


def _is_of_another_type(way: Sequence[Violation], path: tuple[str | int, ...]) -> bool:
    return len(way) == 1 and way[0].path == path and bool(way[0].expected)


def _no_type(ways: Sequence[Sequence[Violation]], path: tuple[str | int, ...]) -> Violation:
    """All schemas want another type: theirs, but for the null of an Optional."""
    expected = list(dict.fromkeys(kind for way in ways for kind in way[0].expected))
    wanted = tuple(kind for kind in expected if kind != "null") or tuple(expected)
    return wrong_type(path, wanted, ways[0][0].description.rpartition("given: ")[2])


def _any_of(error: Any, ways: Sequence[Sequence[Violation]]) -> Iterator[Violation]:
    """Several schemas could be meant: the words of gojsonschema, then what each would have."""
    for flaw in flaws(error):
        lacks = list(dict.fromkeys(_relative(way[0], flaw) for way in ways))[:WAYS_LIMIT]
        yield flaw._replace(description=f"{flaw.description}: {'; or '.join(lacks)}") if lacks else flaw


def _relative(flaw: Violation, outer: Violation) -> str:
    below = ".".join(map(str, flaw.path[len(outer.path) :]))
    return f"{below}: {flaw.description}" if below else flaw.description
