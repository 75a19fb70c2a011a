"""Secrets in inputs, taken out before others see them, by the schema as it is now. Pure."""

from typing import Any, Final

import msgspec
from msgspec import Raw

from tidemill.runtime.serializers import without_secrets

NOTHING: Final = Raw(b"{}")


def redacted(given: Raw, properties: str | None) -> Raw:
    """`properties` is the JSON of what the version's schema says of each input. Without it nothing is shown: nobody
    can tell what is secret.
    """
    if properties is None:
        return NOTHING
    schemas, values = msgspec.json.decode(properties), msgspec.json.decode(given)
    if not isinstance(schemas, dict) or not isinstance(values, dict):
        return NOTHING
    return without_secrets(given, {name for name in values if _is_secret(schemas.get(name))})


def _is_secret(schema: Any) -> bool:
    """Whether the value is a secret or may hold one, in a list or as one of several types."""
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
