"""What a model's child may claim its schema to be: checked before it is kept, served and used on inputs. Pure."""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from tidemill.model.introspection.static_signature import GUESSED
from tidemill.model.schema.defaults import WARNINGS

SIZE_LIMIT_BYTES: Final = 512 * 1024  # a model with a hundred inputs has 50 KiB; every gateway holds many
DEPTH_LIMIT: Final = 64  # as JSON_DEPTH_LIMIT of inputs
GUESSED_WARNING: Final = (
    "The model could not be imported here ({reason}), so its schema was made of its source alone; "
    "the first instance that loads it corrects it."
)
WARNINGS_LIMIT: Final = 100  # as many as a model with a wrong default for each input
WARNING_LIMIT_CHARS: Final = 500
LOCAL: Final = "#/components/schemas/"
NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # escaped in JSON, and its backslash is not escaped itself


class SchemaRefused(Exception):  # noqa: N818 - named after the situation
    """The document is not the OpenAPI schema of a model."""


class Checked(NamedTuple):
    text: str
    streams: bool  # the output is an iterator, which clients may stream
    guessed: str | None = None  # why it is a guess: the model could not be imported where it was made
    warnings: tuple[str, ...] = ()  # what its author should know


def check(raw: bytes) -> Checked:
    """Raises SchemaRefused."""
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
        # Anything else would make whoever checks by this schema read a file or a URL of the model's choosing.
        if not isinstance(reference, str) or reference.removeprefix(LOCAL) not in components:
            raise SchemaRefused(f"the schema refers to {ascii(reference)[:120]}, which is not in it")
    served = {name: value for name, value in document.items() if name not in {GUESSED, WARNINGS}}
    kept = text if served == document else msgspec.json.encode(served).decode()
    if NUL.search(kept):
        raise SchemaRefused("the schema has the character U+0000, which cannot be stored")
    guessed, warnings = document.get(GUESSED), document.get(WARNINGS)
    return Checked(
        kept,
        _mapping(components["Output"]).get("x-cog-array-type") == "iterator",
        None if guessed is None else _line(guessed),
        tuple(_line(each) for each in warnings[:WARNINGS_LIMIT]) if isinstance(warnings, list) else (),
    )


def _line(told: Any) -> str:
    """One that can be printed and stored."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(told)[:WARNING_LIMIT_CHARS])


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
