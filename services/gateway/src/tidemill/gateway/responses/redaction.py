"""Removes secrets from inputs before others see them, by the version's current schema. Pure."""

from typing import Any, Final

import msgspec
from msgspec import Raw

from tidemill.runtime.serializers import without_secrets

EMPTY: Final = Raw(b"{}")


def redacted(given: Raw, properties: str | None) -> Raw:
    """Return the input without secrets. `properties` is the JSON of the schema's input properties; None returns {}:
    without a schema nothing tells which inputs are secret.
    """
    if properties is None:
        return EMPTY
    schemas, values = msgspec.json.decode(properties), msgspec.json.decode(given)
    if not isinstance(schemas, dict) or not isinstance(values, dict):
        return EMPTY
    return without_secrets(given, {name for name in values if _is_secret(schemas.get(name))})


def _is_secret(schema: Any) -> bool:
    """Return whether the value is or may contain a secret, also in a list or as one of several types."""
    if isinstance(schema, list):
        return any(_is_secret(item) for item in schema)
    if not isinstance(schema, dict):
        return False
    return (
        schema.get("x-cog-secret") is True
        or schema.get("format") == "password"
        or schema.get("writeOnly") is True
        or any(_is_secret(item) for item in schema.values())
    )
