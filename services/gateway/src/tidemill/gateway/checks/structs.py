"""Explains why a JSON value is not a valid struct, in the words used for inputs. Only for values that were refused.

msgspec's decoder stops at the first error and uses its own words; the struct's JSON Schema finds all errors.
"""

import functools
from typing import Any, Final

import jsonschema_rs
import msgspec

from tidemill.gateway.checks.fields import Field, invalid_fields
from tidemill.gateway.checks.keywords import ELSE

_AT: Final = " - at `$"  # what the decoder puts before a path, as `$.files[0].path`


def invalid_body_fields(kind: Any, value: Any, message: str) -> list[Field]:
    """Return the invalid fields of a value that the decoder refused with the message `message`; at least one."""
    validator, names = _validator(kind)
    found = invalid_fields(validator.iter_errors(value), "", names)
    return found or [{"type": ELSE[0], "field": _path(message), "description": ELSE[1]}]


def coerce_texts(kind: Any, texts: dict[str, str]) -> dict[str, Any]:
    """Return the texts of a query string as JSON values of the types that the struct's members have."""
    properties = _schema(kind)["$defs"][kind.__name__]["properties"]
    return {name: _value(text, properties.get(name, {})) for name, text in texts.items()}


def _value(text: str, schema: dict[str, Any]) -> Any:
    wanted = {each.get("type") for each in (schema, *schema.get("anyOf", ()))}
    if "boolean" in wanted and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if wanted & {"integer", "number"}:
        try:
            return msgspec.json.decode(text, type=int | float)
        except msgspec.MsgspecError:
            return text
    return text


@functools.cache
def _validator(kind: Any) -> tuple[Any, tuple[str, ...]]:
    schema = _schema(kind)
    defined = schema.get("$defs", {})
    own = defined.get(getattr(kind, "__name__", ""), {})
    names = [name for each in (own, *defined.values()) for name in each.get("properties", ())]
    return jsonschema_rs.validator_for(schema, validate_formats=True), tuple(dict.fromkeys(names))


@functools.cache
def _schema(kind: Any) -> dict[str, Any]:
    schema: dict[str, Any] = msgspec.json.schema(kind)
    return schema


def _path(message: str) -> str:
    """Return the path in the decoder's message, as `files.0.path`."""
    path = message.partition(_AT)[2].rstrip("`").replace("[", ".").replace("]", "")
    return path.removeprefix(".")
