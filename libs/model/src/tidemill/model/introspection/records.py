"""Classes with named fields: dataclasses (such as `cog.BaseModel`), TypedDicts, and models of pydantic 1 and 2.

It recognises pydantic by attributes and never imports it.
"""

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any

from tidemill.model.errors.contract import ContractError


@dataclass(frozen=True)
class RecordField:
    name: str
    annotation: Any
    has_default: bool


def is_record(cls: type) -> bool:
    return dataclasses.is_dataclass(cls) or is_pydantic_model(cls)


def is_pydantic_model(cls: type) -> bool:
    """Return whether it is a pydantic model: version 2 has `model_fields`, version 1 `__fields__`."""
    return isinstance(getattr(cls, "model_fields", None), dict) or isinstance(getattr(cls, "__fields__", None), dict)


def fields_of(cls: type) -> list[RecordField]:
    """Return the fields in order. Raise ContractError if an annotation cannot be resolved."""
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise ContractError(f"the annotations of {cls.__name__} cannot be resolved: {error}") from error
    return [RecordField(name, hints.get(name, Any), has_default) for name, has_default in _defaults(cls).items()]


def build(cls: Any, values: dict[str, Any]) -> Any:
    """Return an instance. Raise TypeError or ValueError, as the class does."""
    validate = getattr(cls, "model_validate", None) or getattr(cls, "parse_obj", None)
    return validate(values) if callable(validate) else cls(**values)


def invalid_fields(error: Exception) -> list[tuple[tuple[str, ...], str]]:
    """Return path and message of each error that pydantic found; nothing for any other exception."""
    errors = getattr(error, "errors", None)
    if not isinstance(error, ValueError) or not callable(errors):
        return []
    return [(tuple(map(str, each["loc"])), each["msg"]) for each in errors()]


def _defaults(cls: Any) -> dict[str, bool]:
    if typing.is_typeddict(cls):
        return {name: name in cls.__optional_keys__ for name in cls.__annotations__}
    if dataclasses.is_dataclass(cls):
        return {
            field.name: not field.init
            or field.default is not dataclasses.MISSING
            or field.default_factory is not dataclasses.MISSING
            for field in dataclasses.fields(cls)
        }
    if isinstance(getattr(cls, "model_fields", None), dict):
        return {name: not field.is_required() for name, field in cls.model_fields.items()}
    return {name: not field.required for name, field in cls.__fields__.items()}
