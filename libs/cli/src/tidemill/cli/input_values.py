"""Parses `-i name=value` options by the schema of the model that gets them. Pure: it opens no file."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tidemill.cli.errors import CommandError

DEPTH_LIMIT: Final = 8  # of references and alternatives inside one property; our schemas have two levels
FILE: Final = "@"  # a value that begins with it is the path of a file


def file_uri(path: Path) -> str:
    return path.resolve().as_uri()


def parse_values(
    given: Iterable[str], schema: Mapping[str, Any], component: str = "Input", *, send: Callable[[Path], str] = file_uri
) -> dict[str, Any]:
    """Return the input. `send` makes a URL of `@path`. A list's name may be given several times. Raise CommandError."""
    components = schema["components"]["schemas"]
    properties = components[component].get("properties", {})
    values: dict[str, Any] = {}
    for item in given:
        if not _is_text(item):
            raise CommandError(f"{item!r} is not UTF-8")
        name, equals, text = item.partition("=")
        if not equals:
            raise CommandError(f"{item!r} is not of the form name=value")
        if name not in properties:
            raise CommandError(f"the model has no input {name!r}; it has {', '.join(properties) or 'none'}")
        kinds = _kinds(properties[name], components, DEPTH_LIMIT)
        value = send(_file(text)) if text.startswith(FILE) else _value(text, kinds)
        if "array" in kinds and not isinstance(value, list):
            value = [*values.get(name, []), value]
        values[name] = value
    return values


def _kinds(definition: Mapping[str, Any], components: Mapping[str, Any], depth: int) -> set[str]:
    """Return the JSON types that a property can have."""
    if depth == 0:
        return set()
    kinds = {str(definition["type"])} if "type" in definition else set()
    for way in ("allOf", "anyOf", "oneOf"):
        for alternative in definition.get(way, ()):
            kinds |= _kinds(alternative, components, depth - 1)
    name = str(definition.get("$ref", "")).rpartition("/")[2]
    return kinds | _kinds(components.get(name, {}), components, depth - 1) if name else kinds


def _file(text: str) -> Path:
    path = Path(text.removeprefix(FILE))
    if not path.is_file():
        raise CommandError(f"there is no file {path}")
    return path


def _value(text: str, kinds: set[str]) -> Any:
    if kinds == {"string"}:
        return text
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)  # raises for NaN and 1e400, which JSON cannot hold
    except ValueError:
        return text
    return value


def _is_text(argument: str) -> bool:
    """Return whether the argument was UTF-8. Python decodes other bytes of the command line to lone surrogates."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True
