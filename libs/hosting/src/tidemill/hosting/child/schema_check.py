"""Validates the schema that a model's child reports, before it is stored, served and used to check inputs. Pure."""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from tidemill.model.introspection.static_signature import GUESSED
from tidemill.model.schema.defaults import WARNINGS

SIZE_LIMIT_BYTES: Final = 512 * 1024  # a model with a hundred inputs has 50 KiB; every gateway holds many
DEPTH_LIMIT: Final = 64  # equal to JSON_DEPTH_LIMIT of inputs
GUESSED_WARNING: Final = (
    "The model could not be imported here ({reason}), so its schema was made of its source alone; "
    "the first instance that loads it corrects it."
)
WARNINGS_LIMIT: Final = 100  # a model with a wrong default for each of 100 inputs
WARNING_LIMIT_CHARS: Final = 500
LOCAL: Final = "#/components/schemas/"
NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # the escape in JSON, whose backslash is not itself escaped


class SchemaRefused(Exception):  # noqa: N818 - named after the situation
    """The document is not a valid OpenAPI schema of a model."""


class CheckedSchema(NamedTuple):
    text: str
    streams: bool  # the output is an iterator, which clients may stream
    guessed: str | None = None  # why the schema was guessed: the model could not be imported there
    warnings: tuple[str, ...] = ()  # for the model's author


def check_schema(raw: bytes) -> CheckedSchema:
    """Return the schema as it is stored. Raise SchemaRefused."""
    if len(raw) > SIZE_LIMIT_BYTES:
        raise SchemaRefused(f"the schema is larger than {SIZE_LIMIT_BYTES} bytes")
    try:
        text = raw.decode()
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SchemaRefused("the schema is not JSON") from None
    components = _mapping(_mapping(_mapping(document).get("components")).get("schemas"))
    if not isinstance(_mapping(components.get("Input")).get("properties", {}), dict) or "Input" not in components:
        raise SchemaRefused("the schema has no Input")
    if "Output" not in components:
        raise SchemaRefused("the schema has no Output")
    for reference in _references(document, DEPTH_LIMIT):
        # Any other reference would make validators read a file or URL of the model's choosing.
        if not isinstance(reference, str) or reference.removeprefix(LOCAL) not in components:
            raise SchemaRefused(f"the schema refers to {ascii(reference)[:120]}, which is not in it")
    served = {name: value for name, value in document.items() if name not in {GUESSED, WARNINGS}}
    kept = text if served == document else msgspec.json.encode(served).decode()
    if NUL.search(kept):
        raise SchemaRefused("the schema has the character U+0000, which cannot be stored")
    guessed, warnings = document.get(GUESSED), document.get(WARNINGS)
    return CheckedSchema(
        kept,
        _mapping(components["Output"]).get("x-cog-array-type") == "iterator",
        None if guessed is None else _line(guessed),
        tuple(_line(each) for each in warnings[:WARNINGS_LIMIT]) if isinstance(warnings, list) else (),
    )


def _line(text: Any) -> str:
    """Return the text in one line, cut, with `?` for characters that cannot be printed or stored."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:WARNING_LIMIT_CHARS])


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _references(value: Any, depth: int) -> Iterator[Any]:
    if depth == 0:
        raise SchemaRefused(f"the schema is nested more than {DEPTH_LIMIT} deep")
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for key in ("$ref", "$dynamicRef", "$recursiveRef"):
        if key in _mapping(value):
            yield value[key]
    for item in items:
        yield from _references(item, depth - 1)
