"""Validates inputs against a version's schema, with Replicate's error texts. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import jsonschema_rs
import msgspec

from tidemill.contracts.errors import bad_request, invalid_input, unprocessable
from tidemill.contracts.limits import JSON_DEPTH_LIMIT
from tidemill.gateway import json_errors
from tidemill.gateway.checks.fields import invalid_fields
from tidemill.gateway.checks.formats import is_file_url

Check = Callable[[Any], None]
_decode: Final = msgspec.json.Decoder().decode


def decode_input(raw: bytes) -> Any:
    """Return the JSON value. Raise 422 if it nests deeper than JSON_DEPTH_LIMIT or has a too large number; 400 for text
    that is not UTF-8: the decoder of the body has skipped the input.
    """
    try:
        value = _decode(raw)
    except RecursionError:
        raise _too_deep() from None
    except msgspec.ValidationError:
        raise unprocessable("The input has a number that is too large.", "Input validation failed") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"The request body is not valid JSON: {json_errors.reason(raw, error)}") from None
    # Only text with that many brackets can nest that deep: most inputs need no check.
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
    """Return a function that raises the 422 problem for an input (a dict) that violates the schema's component.

    A null for an optional input counts as absent. Raise the 422 problem for an invalid schema.
    """
    components = openapi_schema.get("components", {})
    schema = _with_nulls({"$ref": f"#/components/schemas/{component}", "components": components})
    try:
        validator = jsonschema_rs.validator_for(schema, validate_formats=True, formats={"uri": is_file_url})
    except ValueError:
        raise unprocessable("No input can be checked: the schema of this version is not valid.") from None
    required = frozenset(components.get("schemas", {}).get(component, {}).get("required", ()))

    def check(value: Any) -> None:
        if isinstance(value, dict) and None in value.values():
            value = {key: item for key, item in value.items() if item is not None or key in required}
        if not validator.is_valid(value):
            raise invalid_input(invalid_fields(validator.iter_errors(value), "input"))

    return check


def _with_nulls(node: Any) -> Any:
    """Replace `nullable` of OpenAPI 3.0 by the type null of JSON Schema."""
    if isinstance(node, list):
        return [_with_nulls(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {key: _with_nulls(value) for key, value in node.items()}
    if out.get("nullable") is True:
        return {"anyOf": [{key: value for key, value in out.items() if key != "nullable"}, {"type": "null"}]}
    return out
