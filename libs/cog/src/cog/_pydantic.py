"""Makes cog's types usable in pydantic models. Only pydantic calls it, so it never imports pydantic first."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar


class Validated:
    """A type whose values `validate` checks and converts, with its own JSON schema."""

    _json_schema: ClassVar[dict[str, Any]]

    @classmethod
    def validate(cls, value: Any) -> Any:
        """Raise ValueError."""
        raise NotImplementedError

    @classmethod
    def __get_validators__(cls) -> Iterator[Callable[[Any], Any]]:
        yield cls.validate

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        schemas = importlib.import_module("pydantic_core.core_schema")
        return schemas.no_info_plain_validator_function(cls.validate)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return dict(cls._json_schema)
