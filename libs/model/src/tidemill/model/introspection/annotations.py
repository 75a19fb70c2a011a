"""Converts Python annotations to shapes.

It never reads values and runs no code of the model, except to resolve names. It raises ContractError, with the reason,
for an annotation that JSON cannot represent.
"""

import collections.abc
import enum
import io
import os
import types
import typing
from dataclasses import dataclass, replace
from typing import Any, Final

import cog
from cog.coder import Coder
from tidemill.model.errors.contract import ContractError
from tidemill.model.introspection import records
from tidemill.model.introspection.shapes import FILE_KINDS, Kind, Shape, ShapeField, choice_of, holds_files

SUPPORTED: Final = (
    "str, int, float, bool, Path, Secret, dict, Any, list[...], Optional[...], unions of JSON types, Literal, "
    "enum.Enum, TypedDict, dataclass, BaseModel or Annotated[T, Opaque]"
)
FILE_INSIDE: Final = "files inside another value are not fetched; take them as parameters of type Path or list[Path]"

PLAIN: Final[dict[Any, Kind]] = {
    Any: Kind.ANY,
    object: Kind.ANY,
    None: Kind.NONE,
    type(None): Kind.NONE,
    str: Kind.STRING,
    int: Kind.INTEGER,
    float: Kind.NUMBER,
    bool: Kind.BOOLEAN,
    dict: Kind.OBJECT,
    collections.abc.Mapping: Kind.OBJECT,
    collections.abc.MutableMapping: Kind.OBJECT,
}
CLASSES: Final[dict[type, Kind]] = {  # including subclasses
    os.PathLike: Kind.PATH,
    io.IOBase: Kind.FILE,
    typing.IO: Kind.FILE,
    cog.Secret: Kind.SECRET,
}
LISTS: Final = frozenset({list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection})
OUTPUT_LISTS: Final = frozenset({tuple, set, frozenset, collections.abc.Set})
KEY_MARKS: Final = frozenset({"NotRequired", "Required", "ReadOnly"})  # they wrap the type of a TypedDict's key
DICTS: Final = frozenset({dict, collections.abc.Mapping, collections.abc.MutableMapping})


@dataclass(frozen=True)
class AnnotationReader:
    """Reads annotations of inputs or outputs. `expanding` are the records being read, where a recursion ends."""

    output: bool = False
    expanding: frozenset[Any] = frozenset()

    def shape(self, annotation: Any) -> Shape:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if not arguments:
            return self._bare(origin or annotation)
        if origin is typing.Annotated:
            opaque = any(mark is cog.Opaque for mark in arguments[1:])
            return _opaque(arguments[0]) if opaque else self.shape(arguments[0])
        if origin in {typing.Union, types.UnionType}:
            return self._union(arguments)
        if origin is typing.Literal:
            return choice_of(arguments)
        if getattr(origin, "_name", None) in KEY_MARKS:
            return self.shape(arguments[0])
        return self._generic(annotation, origin, arguments)

    def _bare(self, annotation: Any) -> Shape:
        if not isinstance(annotation, collections.abc.Hashable):
            raise _unsupported(annotation)
        if annotation in PLAIN:
            return Shape(PLAIN[annotation])
        if annotation in LISTS or (self.output and annotation in OUTPUT_LISTS):
            return Shape(Kind.LIST)
        if isinstance(annotation, typing.NewType):
            return self.shape(annotation.__supertype__)
        if type(annotation).__name__ == "TypeAliasType":  # `type X = ...` of Python 3.12
            return self.shape(annotation.__value__)  # type: ignore[attr-defined]  # newer than 3.11
        if isinstance(annotation, type):
            return self._class(annotation)
        raise _unsupported(annotation)

    def _class(self, cls: type) -> Shape:
        for base, kind in CLASSES.items():
            if issubclass(cls, base):
                return Shape(kind)
        if typing.is_typeddict(cls):
            return self._typed_dict(cls)
        if issubclass(cls, enum.Enum):
            return replace(choice_of([member.value for member in cls]), python=cls)
        coder = Coder.lookup(cls)
        if coder is not None:
            return Shape(Kind.CODED, python=coder)
        if records.is_record(cls):
            return self._record(cls)
        raise _unsupported(cls)

    def _typed_dict(self, cls: type) -> Shape:
        """As an input accept any object, as Cog does. As an output require the keys if their types are known."""
        if not self.output:
            return Shape(Kind.OBJECT)
        try:
            return self._record(cls)
        except ContractError:
            return Shape(Kind.OBJECT)

    def _record(self, cls: type) -> Shape:
        if cls in self.expanding:
            return Shape(Kind.OBJECT)
        inner = replace(self, expanding=self.expanding | {cls})
        try:
            fields = tuple(inner.field(cls, field) for field in records.fields_of(cls))
        except ContractError:
            if records.is_pydantic_model(cls):
                return Shape(Kind.RECORD, python=cls)  # pydantic validates it
            raise
        return Shape(Kind.RECORD, fields=fields, python=cls)

    def field(self, cls: type, field: records.RecordField) -> ShapeField:
        try:
            shape = self.shape(field.annotation)
            if not self.output and holds_files(shape):
                raise ContractError(FILE_INSIDE)  # noqa: TRY301 - the place is added below
        except ContractError as error:
            raise error.within(f"field {field.name!r} of {cls.__name__}") from error.__cause__
        # An output has all its fields, except keys that a TypedDict declares as not required.
        return ShapeField(field.name, shape, field.has_default and (not self.output or typing.is_typeddict(cls)))

    def _union(self, arguments: tuple[Any, ...]) -> Shape:
        shapes = [self.shape(argument) for argument in arguments]
        options = [shape for shape in shapes if shape.kind is not Kind.NONE]
        nullable = len(options) < len(shapes)
        if len(options) == 1:
            return replace(options[0], nullable=nullable or options[0].nullable)
        if not self.output and any(holds_files(shape) or shape.kind is Kind.SECRET for shape in options):
            raise ContractError("a union with Path, File or Secret leaves open what a text means; use one of them")
        options.sort(key=lambda shape: shape.kind is Kind.NUMBER)  # int must be tried before float
        return Shape(Kind.UNION, nullable=nullable, options=tuple(options))

    def _generic(self, annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> Shape:
        if origin in LISTS or (self.output and origin in OUTPUT_LISTS - {tuple}):
            item = self.shape(arguments[0])
            if not self.output and item.kind not in FILE_KINDS and holds_files(item):
                raise ContractError(FILE_INSIDE)
            return Shape(Kind.LIST, item=_known(item))
        if self.output and origin is tuple:
            homogeneous = len(arguments) == 2 and arguments[1] is ...
            return Shape(Kind.LIST, item=_known(self.shape(arguments[0])) if homogeneous else None)
        if origin in DICTS:
            value = self.shape(arguments[1])
            if not self.output and holds_files(value):
                raise ContractError(FILE_INSIDE)
            return Shape(Kind.DICT, item=value) if _known(value) else Shape(Kind.OBJECT)
        raise _unsupported(annotation)


def _opaque(annotation: Any) -> Shape:
    """Return the shape of `Annotated[annotation, Opaque]`: any object, or a list of objects for a list."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {typing.Union, types.UnionType}:
        given = [argument for argument in arguments if argument not in {None, type(None)}]
        if len(given) == 1:
            return replace(_opaque(given[0]), nullable=True)
    if (origin or annotation) in LISTS:
        return Shape(Kind.LIST, item=Shape(Kind.OBJECT))
    return Shape(Kind.OBJECT)


def shape_of(annotation: Any, *, output: bool = False) -> Shape:
    """Return the shape of the annotation of a parameter or an output. Raise ContractError."""
    shape = AnnotationReader(output).shape(annotation)
    if shape.kind is Kind.NONE:
        raise ContractError("None alone says nothing; name the type of the value")
    return shape


def _known(shape: Shape) -> Shape | None:
    return None if shape.kind is Kind.ANY else shape


def _unsupported(annotation: Any) -> ContractError:
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return ContractError(f"{name} is not a type that inputs and outputs can have; use {SUPPORTED}")
