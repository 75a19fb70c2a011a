"""JSON Schema errors as `invalid_fields`: what is wrong with each field, also below `anyOf` and `oneOf`.

An `Optional` is an `anyOf` of a schema and null: its errors are those of the schema without null. Pure.
"""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final

from tidemill.gateway.checks.keywords import Violation, violations, wrong_type

ERRORS_LIMIT: Final = 20  # of an input with thousands of wrong fields only the first are reported
ALTERNATIVES_LIMIT: Final = 3  # reported of a value that matches none of several schemas
SIMILAR: Final = 0.7  # ratio from which a name is suggested for another; `webhok` and `webhook` have 0.92
_ONE_OF: Final = frozenset({"anyOf", "oneOf"})

Field = dict[str, str]


def invalid_fields(errors: Iterable[Any], root: str, known: Iterable[str] = ()) -> list[Field]:
    """`root` is put before every path (`input`; empty for a body). `known`: names to suggest for a misspelt one."""
    found: list[Field] = []
    names = list(known)
    for error in errors:
        for violation in _violations_of(error):
            if len(found) == ERRORS_LIMIT:
                return found
            field = _field(violation, root, names)
            if field not in found:
                found.append(field)
    return found


def _field(violation: Violation, root: str, known: Sequence[str]) -> Field:
    path = ".".join([*([root] if root else []), *map(str, violation.path)])
    field = {"type": violation.type, "field": path, "description": violation.description}
    similar = get_close_matches(violation.property, known, 1, SIMILAR) if violation.property is not None else []
    return {**field, "suggestion": similar[0]} if similar else field


def _violations_of(error: Any) -> Iterator[Violation]:
    """Yield the violations of an error. Of several schemas, those of the one that was probably meant."""
    if error.kind.name not in _ONE_OF:
        yield from violations(error)
        return
    path = tuple(error.instance_path)
    alternatives = [
        [violation for inner in alternative for violation in _violations_of(inner)]
        for alternative in error.kind.context
    ]
    alternatives = [alternative for alternative in alternatives if alternative]
    meant = [alternative for alternative in alternatives if not _is_of_another_type(alternative, path)]
    if len(meant) == 1:
        yield from meant[0]
    elif meant or not alternatives:
        yield from _any_of(error, meant)
    else:
        yield _no_type(alternatives, path)


def _is_of_another_type(alternative: Sequence[Violation], path: tuple[str | int, ...]) -> bool:
    return len(alternative) == 1 and alternative[0].path == path and bool(alternative[0].expected)


def _no_type(alternatives: Sequence[Sequence[Violation]], path: tuple[str | int, ...]) -> Violation:
    """The violation when all schemas expect another type: all these types, without the null of an Optional."""
    expected = list(dict.fromkeys(kind for alternative in alternatives for kind in alternative[0].expected))
    wanted = tuple(kind for kind in expected if kind != "null") or tuple(expected)
    return wrong_type(path, wanted, alternatives[0][0].description.rpartition("given: ")[2])


def _any_of(error: Any, alternatives: Sequence[Sequence[Violation]]) -> Iterator[Violation]:
    """Several schemas could be meant: gojsonschema's text, then the first violation of each."""
    for violation in violations(error):
        lacks = list(dict.fromkeys(_relative(alternative[0], violation) for alternative in alternatives))[
            :ALTERNATIVES_LIMIT
        ]
        yield violation._replace(description=f"{violation.description}: {'; or '.join(lacks)}") if lacks else violation


def _relative(violation: Violation, outer: Violation) -> str:
    below = ".".join(map(str, violation.path[len(outer.path) :]))
    return f"{below}: {violation.description}" if below else violation.description
