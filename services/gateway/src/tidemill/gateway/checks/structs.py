"""What is wrong with a JSON value that is to be a struct, in the words for inputs. Only for those that were refused.

The decoder stops at the first thing and says it in its own language; its schema says all of them.
"""

import functools
from typing import Any, Final

import jsonschema_rs
import msgspec

from tidemill.gateway.checks.fields import Field, invalid_fields
from tidemill.gateway.checks.keywords import ELSE

_AT: Final = " - at `$"  # what the decoder puts before a path, as `$.files[0].path`


def invalid_body_fields(kind: Any, value: Any, said: str) -> list[Field]:
    """The invalid fields of a value that the decoder refused, saying `said`; at least one."""
    validator, names = _validator(kind)
    found = invalid_fields(validator.iter_errors(value), "", names)
    return found or [{"type": ELSE[0], "field": _path(said), "description": ELSE[1]}]


def coerce_texts(kind: Any, texts: dict[str, str]) -> dict[str, Any]:
    """Texts of a query as the JSON values that the struct's members may be."""
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


def _path(said: str) -> str:
    """`files.0.path` of what the decoder said."""
    path = said.partition(_AT)[2].rstrip("`").replace("[", ".").replace("]", "")
    return path.removeprefix(".")
