"""Validation errors of msgspec for files and settings, in terms of YAML and environment variables. Pure."""

import difflib
import re
from collections.abc import Iterator
from typing import Any, Final, get_args

import msgspec

# msgspec's type names in plain words; `null` stands for an absent key.
_KINDS: Final = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "object": "a mapping of keys to values",
    "str": "a text",
    "null": "nothing",
}
_WRONG_KIND: Final = re.compile(r"Expected `(?P<wanted>[a-z |]+)`, got `(?P<given>\w+)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*?)`(?: - at|$)", re.DOTALL)
_PLACE: Final = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


def describe_error(error: msgspec.ValidationError, kind: Any) -> str:
    """Return what is wrong and where, for a value of type `kind`; msgspec's own message if there is no better one."""
    said = str(error)
    place = _PLACE.search(said)
    path = place["path"] if place else ""
    wrong = _WRONG_KIND.search(said)
    if wrong is not None:
        wanted = [_KINDS.get(each, each) for each in wrong["wanted"].split(" | ") if each != "null"]
        return f"{path or 'it'} must be {' or '.join(wanted)}, not {_KINDS.get(wrong['given'], wrong['given'])}"
    unknown = _UNKNOWN.match(said)
    if unknown is not None:
        near = difflib.get_close_matches(unknown["name"], sorted(set(_keys(kind))), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{path or 'it'} has the unknown key {unknown['name']!a}{hint}"
    return f"{path}: {said}" if path else said


def _keys(kind: Any) -> Iterator[str]:
    """Yield the keys of the struct and of structs inside it."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            yield field.encode_name
            yield from _keys(field.type)
    for part in get_args(kind):
        yield from _keys(part)
