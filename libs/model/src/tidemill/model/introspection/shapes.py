"""What a Python annotation means in JSON: the closed set of shapes that schema, coercion and encoding share."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from tidemill.model.errors.contract import ContractError


class Kind(enum.Enum):
    """The value is what an author writes; `describe_for_caller` has the words for the sender of a value."""

    ANY = "any JSON value"
    STRING = "str"
    INTEGER = "int"
    NUMBER = "float"
    BOOLEAN = "bool"
    PATH = "Path"
    FILE = "File"
    SECRET = "Secret"  # noqa: S105 - a kind, not a secret
    OBJECT = "dict"
    CHOICE = "choice"
    LIST = "list"
    DICT = "dict of values"
    RECORD = "record"
    UNION = "union"
    CODED = "coded object"
    NONE = "None"


FILE_KINDS: Final = frozenset({Kind.PATH, Kind.FILE})
SECRET_KINDS: Final = frozenset({Kind.SECRET})
CODE_KINDS: Final = frozenset({Kind.RECORD, Kind.CODED})


@dataclass(frozen=True)
class Shape:
    kind: Kind
    nullable: bool = False
    item: "Shape | None" = None  # of LIST and DICT; None: any value
    options: "tuple[Shape, ...]" = ()  # of UNION
    fields: "tuple[ShapeField, ...]" = ()  # of RECORD
    values: tuple[Any, ...] = ()  # of CHOICE: JSON scalars
    python: Any = None  # builds the value: the class of a RECORD or an Enum, the Coder of CODED


@dataclass(frozen=True)
class ShapeField:
    name: str
    shape: Shape
    has_default: bool


def choice_of(values: Iterable[Any]) -> Shape:
    """Return a choice of JSON scalars; Enum members are replaced by their values. Raise ContractError."""
    plain = [value.value if isinstance(value, enum.Enum) else value for value in values]
    given = [value for value in plain if value is not None]
    if not given:
        raise ContractError("there is nothing to choose from")
    families = {str if isinstance(value, str) else type(value) for value in given}
    if families - {int, float} and families not in ({str}, {bool}):
        names = ", ".join(sorted(family.__name__ for family in families))
        raise ContractError(f"choices must be all texts or all numbers, not {names}")
    return Shape(Kind.CHOICE, nullable=len(given) < len(plain), values=tuple(dict.fromkeys(given)))


def holds_files(shape: Shape) -> bool:
    """Return whether a value of this shape may contain a file, to be fetched or stored."""
    return _holds(shape, FILE_KINDS)


def holds_secrets(shape: Shape) -> bool:
    """Return whether a value of this shape may contain a Secret."""
    return _holds(shape, SECRET_KINDS)


def holds_code(shape: Shape) -> bool:
    """Return whether the author's code makes a value of this shape, or a part of it."""
    return _holds(shape, CODE_KINDS)


def _holds(shape: Shape, kinds: frozenset[Kind]) -> bool:
    inner = [*shape.options, *(field.shape for field in shape.fields), *([shape.item] if shape.item else [])]
    return shape.kind in kinds or any(_holds(part, kinds) for part in inner)


def describe(shape: Shape) -> str:
    """Return the shape as an author would write it."""
    text = shape.kind.value
    if shape.kind in {Kind.LIST, Kind.DICT} and shape.item is not None:
        text = f"list[{describe(shape.item)}]" if shape.kind is Kind.LIST else f"dict[str, {describe(shape.item)}]"
    elif shape.kind is Kind.UNION:
        text = " | ".join(describe(option) for option in shape.options)
    elif shape.kind is Kind.RECORD:
        text = shape.python.__name__
    elif shape.kind is Kind.CHOICE:
        text = "one of " + ", ".join(repr(value) for value in shape.values)
    return f"{text} | None" if shape.nullable else text


def describe_for_caller(shape: Shape) -> str:
    """Return what a value of this shape must be, for a caller who sends JSON and may know no Python."""
    text = _WORDS.get(shape.kind, "an object")
    if shape.kind is Kind.LIST and shape.item is not None:
        text = f"{text}, each item {describe_for_caller(shape.item)}"
    elif shape.kind is Kind.DICT and shape.item is not None:
        text = f"an object, each value {describe_for_caller(shape.item)}"
    elif shape.kind is Kind.UNION:
        text = " or ".join(dict.fromkeys(describe_for_caller(option) for option in shape.options))
    elif shape.kind is Kind.CHOICE:
        text = "one of " + ", ".join(repr(value) for value in shape.values)
    return f"{text} or null" if shape.nullable else text


def describe_json_kind(value: Any) -> str:
    """Return the kind of a JSON value, in the words of describe_for_caller."""
    return next((words for kind, words in _GIVEN if isinstance(value, kind)), type(value).__name__)


_WORDS: Final = {
    Kind.ANY: "any JSON value",
    Kind.STRING: "a text",
    Kind.SECRET: "a text",
    Kind.INTEGER: "a whole number",
    Kind.NUMBER: "a number",
    Kind.BOOLEAN: "true or false",
    Kind.PATH: "a file",
    Kind.FILE: "a file",
    Kind.LIST: "a list",
    Kind.NONE: "null",
}
_GIVEN: Final = (
    (type(None), "null"),
    (bool, "true or false"),  # before int: bool is a subclass of it
    (int, "a whole number"),
    (float, "a fractional number"),
    (str, "a text"),
    (list, "a list"),
    (dict, "an object"),
)
