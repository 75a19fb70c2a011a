"""Inputs against a version's schema, with the errors Replicate gives (those of gojsonschema). Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import jsonschema_rs
import msgspec

from tidemill.contracts.errors import bad_request, invalid_input, unprocessable
from tidemill.contracts.limits import JSON_DEPTH_LIMIT

Check = Callable[[Any], None]
ERRORS_LIMIT: Final = 20  # a wrong input of thousands of fields gets the first few
_decode: Final = msgspec.json.Decoder().decode


def decode_input(raw: bytes) -> Any:
    """The JSON value. Raises the 422 problem when it nests deeper than JSON_DEPTH_LIMIT or has a number that is too
    large, and the 400 problem for text that is not UTF-8: it was passed over unread when the body was decoded.
    """
    try:
        value = _decode(raw)
    except RecursionError:
        raise _too_deep() from None
    except msgspec.ValidationError as error:
        raise unprocessable(f"The input is not as expected: {error}", "Input validation failed") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"The request body is not valid JSON: {error}") from None
    # Only a text with that many brackets can nest that deep: most inputs are not walked.
    if raw.count(b"[") + raw.count(b"{") > JSON_DEPTH_LIMIT and _depth(value) > JSON_DEPTH_LIMIT:
        raise _too_deep()
    return value


def _too_deep() -> Exception:
    return unprocessable(f"The input nests deeper than {JSON_DEPTH_LIMIT} levels.", "Input validation failed")


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return depth


def checker(openapi_schema: Mapping[str, Any], component: str = "Input") -> Check:
    """A function that raises the 422 problem for an input (a dict) which the schema's component refuses.

    A null for an input that is not required means that it is left out.
    """
    components = openapi_schema.get("components", {})
    schema = _with_nulls({"$ref": f"#/components/schemas/{component}", "components": components})
    validator = jsonschema_rs.validator_for(schema)
    required = frozenset(components.get("schemas", {}).get(component, {}).get("required", ()))

    def check(value: Any) -> None:
        if isinstance(value, dict) and None in value.values():
            value = {key: item for key, item in value.items() if item is not None or key in required}
        if validator.is_valid(value):
            return
        fields = [_field(error) for error, _ in zip(validator.iter_errors(value), range(ERRORS_LIMIT), strict=False)]
        raise invalid_input(fields)

    return check


def _with_nulls(node: Any) -> Any:
    """OpenAPI 3.0 says `nullable`; JSON Schema wants a null among the types."""
    if isinstance(node, list):
        return [_with_nulls(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {key: _with_nulls(value) for key, value in node.items()}
    if out.get("nullable") is True:
        return {"anyOf": [{key: value for key, value in out.items() if key != "nullable"}, {"type": "null"}]}
    return out


def _field(error: Any) -> dict[str, str]:
    path = ".".join(["input", *map(str, error.instance_path)])
    kind, description = _wording(error)
    return {"type": kind, "field": path, "description": description}


_WORDS: Final[dict[str, tuple[str, str]]] = {
    "minimum": ("number_gte", "Must be greater than or equal to {limit}"),
    "maximum": ("number_lte", "Must be less than or equal to {limit}"),
    "exclusiveMinimum": ("number_gt", "Must be greater than {limit}"),
    "exclusiveMaximum": ("number_lt", "Must be less than {limit}"),
    "minLength": ("string_gte", "String length must be greater than or equal to {limit}"),
    "maxLength": ("string_lte", "String length must be less than or equal to {limit}"),
    "pattern": ("pattern", "Does not match pattern '{limit}'"),
    "minItems": ("array_min_items", "Array must have at least {limit} items"),
    "maxItems": ("array_max_items", "Array must have at most {limit} items"),
    "format": ("format", "Does not match format '{limit}'"),
}


def _wording(error: Any) -> tuple[str, str]:
    keyword, limit = error.kind.name, error.kind.value
    if keyword == "required":
        return "required", f"{limit} is required"
    if keyword == "type":
        return "invalid_type", f"Invalid type. Expected: {'/'.join(limit)}, given: {_type_of(error.instance)}"
    if keyword == "enum":
        options = ", ".join(msgspec.json.encode(option).decode() for option in limit)
        return "enum", f"Must be one of the following: {options}"
    if keyword in _WORDS:
        name, text = _WORDS[keyword]
        return name, text.format(limit=limit)
    return keyword, error.message


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {dict: "object", list: "array", str: "string", int: "integer", float: "number", type(None): "null"}
    return names.get(type(value), "unknown")
