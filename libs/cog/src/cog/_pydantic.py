"""Lets the types of this module stand in pydantic models; called by pydantic alone, so it never imports it first."""

import importlib
from collections.abc import Callable
from typing import Any


def core_schema(validate: Callable[[Any], Any]) -> Any:
    """A pydantic-core schema that takes any value and passes it through `validate` (which raises ValueError)."""
    schemas = importlib.import_module("pydantic_core.core_schema")
    return schemas.no_info_plain_validator_function(validate)
