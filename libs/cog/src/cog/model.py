"""`BaseModel`: an output (or input) of several named values. Subclasses become dataclasses; nothing is type-checked.

Models of older Cog generations, where this class was pydantic's, keep working: required fields may follow optional
ones, `Optional` fields may be left out, and mutable defaults or pydantic's `Field()` may stand as defaults.
"""

import copy
import dataclasses
import inspect
import types
import typing
from typing import Any

from cog.input import MISSING


class BaseModel:
    def __init_subclass__(cls, *, auto_dataclass: bool = True, init: bool = True, **options: Any) -> None:
        """`auto_dataclass=False` leaves the class alone; the other options are those of `dataclasses.dataclass`."""
        super().__init_subclass__()
        if not auto_dataclass:
            return
        for name, annotation in _own_fields(cls).items():
            _set_default(cls, name, annotation)
        options.setdefault("kw_only", _required_follows_optional(cls))
        dataclasses.dataclass(init=init, **options)(cls)


def _own_fields(cls: type) -> dict[str, Any]:
    annotations = inspect.get_annotations(cls)
    return {name: annotation for name, annotation in annotations.items() if "ClassVar" not in str(annotation)}


def _set_default(cls: type, name: str, annotation: Any) -> None:
    """Replace the author's default by one that `dataclass` supports."""
    default = cls.__dict__.get(name, MISSING)
    if type(default).__name__ == "FieldInfo":  # cog's or pydantic's
        default, factory = _unwrap(default)
        if factory is not None:
            setattr(cls, name, dataclasses.field(default_factory=factory))
            return
    if default is MISSING and _is_optional(annotation):
        default = None
    if default is MISSING:
        setattr(cls, name, dataclasses.field())  # hides an attribute of that name in a base class
    elif isinstance(default, (list, dict, set)):
        setattr(cls, name, dataclasses.field(default_factory=lambda: copy.deepcopy(default)))
    else:
        setattr(cls, name, default)


def _unwrap(info: Any) -> tuple[Any, Any]:
    """Return default and default factory of a `FieldInfo`, of cog or of pydantic, whose "undefined" means required."""
    default = info.default
    if default is ... or type(default).__name__ in {"PydanticUndefinedType", "UndefinedType"}:
        default = MISSING
    return default, getattr(info, "default_factory", None)


def _is_optional(annotation: Any) -> bool:
    if isinstance(annotation, str):  # `from __future__ import annotations`; its names may not be resolvable yet
        text = annotation.replace(" ", "")
        return text.startswith(("Optional[", "typing.Optional[", "None|")) or text.endswith("|None")
    if typing.get_origin(annotation) not in {typing.Union, types.UnionType}:
        return False
    return type(None) in typing.get_args(annotation)


def _required_follows_optional(cls: type) -> bool:
    """Return whether a required field follows an optional one: then the fields must be keyword-only."""
    has_default: dict[str, bool] = {}
    for base in reversed(cls.__mro__[1:]):
        for name, inherited in getattr(base, "__dataclass_fields__", {}).items():
            has_default[name] = not (
                inherited.default is dataclasses.MISSING and inherited.default_factory is dataclasses.MISSING
            )
    for name in _own_fields(cls):
        default = cls.__dict__[name]
        if isinstance(default, dataclasses.Field):
            missing = default.default is dataclasses.MISSING and default.default_factory is dataclasses.MISSING
            has_default[name] = not missing
        else:
            has_default[name] = True
    order = list(has_default.values())
    return order != sorted(order)
