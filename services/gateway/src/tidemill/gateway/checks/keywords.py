"""The error type and text for each JSON Schema keyword: gojsonschema's, which Replicate's API uses. Pure.

The validating library's own text must never get into a response: a keyword that is missing here gets `ELSE`.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from tidemill.contracts import patterns

Path = tuple[str | int, ...]


class Violation(NamedTuple):
    """One error: the path, and Replicate's type and text. `expected`: the valid types if the type is wrong; `property`:
    the name of a member that is not allowed.
    """

    path: Path
    type: str
    description: str
    expected: tuple[str, ...] = ()
    property: str | None = None


ELSE: Final = ("invalid", "Does not match the schema")
_LIMITS: Final[dict[str, tuple[str, str]]] = {
    "minimum": ("number_gte", "Must be greater than or equal to {}"),
    "maximum": ("number_lte", "Must be less than or equal to {}"),
    "exclusiveMinimum": ("number_gt", "Must be greater than {}"),
    "exclusiveMaximum": ("number_lt", "Must be less than {}"),
    "multipleOf": ("multiple_of", "Must be a multiple of {}"),
    "minLength": ("string_gte", "String length must be greater than or equal to {}"),
    "maxLength": ("string_lte", "String length must be less than or equal to {}"),
    "minItems": ("array_min_items", "Array must have at least {} items"),
    "maxItems": ("array_max_items", "Array must have at most {} items"),
    "minProperties": ("array_min_properties", "Must have at least {} properties"),
    "maxProperties": ("array_max_properties", "Must have at most {} properties"),
    "required": ("required", "{} is required"),
    "contentEncoding": ("content_encoding", "Does not match content encoding '{}'"),
    "contentMediaType": ("content_media_type", "Does not match media type '{}'"),
}
_PLAIN: Final[dict[str, tuple[str, str]]] = {
    "contains": ("contains", "At least one of the items must match"),
    "additionalItems": ("array_no_additional_items", "No additional items allowed on array"),
    "unevaluatedItems": ("array_no_additional_items", "No additional items allowed on array"),
    "anyOf": ("number_any_of", "Must validate at least one schema (anyOf)"),
    "oneOf": ("number_one_of", "Must validate one and only one schema (oneOf)"),
    "allOf": ("number_all_of", "Must validate all the schemas (allOf)"),
    "not": ("number_not", "Must not validate the schema (not)"),
    "falseSchema": ("false", "False always fails validation"),
}


def violations(error: Any) -> Iterator[Violation]:
    """Yield the violations of one error of the library. The library's own text is never used."""
    keyword, value = error.kind.name, error.kind.value
    path: Path = tuple(error.instance_path)
    if keyword in {"additionalProperties", "unevaluatedProperties"}:
        for name in value:
            text = f"Additional property {name} is not allowed"
            yield Violation(path, "additional_property_not_allowed", text, property=name)
    elif keyword == "type":
        given = _type_of(error.instance)
        yield wrong_type(path, tuple(value), given)
    else:
        yield Violation(path, *_describe(keyword, value, error))


def wrong_type(path: Path, expected: tuple[str, ...], given: str) -> Violation:
    text = f"Invalid type. Expected: {'/'.join(expected)}, given: {given}"
    return Violation(path, "invalid_type", text, expected=expected)


def _describe(keyword: str, value: Any, error: Any) -> tuple[str, str]:
    if keyword in _OF_INSTANCE:
        return _OF_INSTANCE[keyword](value, error)
    if keyword in _LIMITS:
        name, text = _LIMITS[keyword]
        return name, text.format(_number(value))
    return _PLAIN.get(keyword, ELSE)


def _enum(value: Any, error: Any) -> tuple[str, str]:
    return "enum", f"{_named(error)}must be one of the following: {', '.join(map(_json, value))}"


def _const(value: Any, error: Any) -> tuple[str, str]:
    return "const", f"{_named(error)}does not match: {_json(value)}"


def _format(value: Any, error: Any) -> tuple[str, str]:
    blank = isinstance(error.instance, str) and not error.instance.strip()
    more = ": it is blank; an optional input is left out instead" if blank else ""
    return "format", f"Does not match format '{value}'{more}"


def _pattern(value: Any, _error: Any) -> tuple[str, str]:
    """Our own patterns have a description. Of a model author's pattern only the pattern itself is known."""
    words = patterns.DESCRIPTIONS.get(value)
    return "pattern", f"Does not match pattern '{value}'" if words is None else f"Must be {words}"


def _unique(_value: Any, error: Any) -> tuple[str, str]:
    """Name the two items whose JSON is equal. 1 and 1.0 count as equal too, but their JSON differs: no items then."""
    seen: dict[str, int] = {}
    for index, item in enumerate(error.instance if isinstance(error.instance, list) else ()):
        first = seen.setdefault(msgspec.json.encode(item, order="deterministic").decode(), index)
        if first != index:
            return "unique", f"array items[{first},{index}] must be unique"
    return "unique", "array items must be unique"


def _property_name(_value: Any, error: Any) -> tuple[str, str]:
    inner = getattr(error.kind, "error", None)
    return "invalid_property_name", f'Property name of "{getattr(inner, "instance", "")}" does not match'


_OF_INSTANCE: Final[dict[str, Callable[[Any, Any], tuple[str, str]]]] = {
    "enum": _enum,
    "const": _const,
    "format": _format,
    "pattern": _pattern,
    "uniqueItems": _unique,
    "propertyNames": _property_name,
}


def _named(error: Any) -> str:
    """Return the field as gojsonschema names it, with a space; empty for the input itself."""
    return "".join([".".join(map(str, error.instance_path)), " "]).lstrip()


def _number(value: Any) -> Any:
    """Return 1 for 1.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {dict: "object", list: "array", str: "string", int: "integer", float: "number", type(None): "null"}
    return names.get(type(value), "unknown")
