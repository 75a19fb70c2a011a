"""Structs as the parameters of a SQL statement: one of scalars, or many as arrays that `unnest` turns back into rows.

A statement takes its column list, its parameter list and its array types from one struct. All texts are built once, at
import. Nothing here knows a table.
"""

import types
import typing
from collections.abc import Callable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

from tidemill.runtime.clock import at

# The element type of a field's array, unless the field has a Column. Strings, also of an enum or a Literal, are text.
ARRAY_TYPES: Final[dict[object, str]] = {
    int: "int",
    float: "float8",
    bytes: "bytea",
    datetime: "timestamptz",
}


class Column(NamedTuple):
    """How a field travels to its column, if not as it is. Use as `Annotated[type, Column(…)]`."""

    array: str = "text"  # the element type of its array
    value: str = "{}"  # the SQL expression over the element that goes into the column
    convert: Callable[[Any], object] | None = None  # from the field's value to the element; None stays NULL
    name: str | None = None  # of the column, if it is not the field's


Moment = Annotated[float, Column("timestamptz", convert=at)]  # unix seconds
MomentOrNone = Annotated[float | None, Column("timestamptz", convert=at)]

RowT = TypeVar("RowT")


class Unnest(Generic[RowT]):
    """The rows that are made of structs of type `row`, under the name `alias`.

    `extra` adds arrays that no struct holds: name to element type. Parameters are counted from `first`.
    """

    def __init__(self, row: type[RowT], alias: str, *, first: int = 1, **extra: str) -> None:
        fields = _columns(row)
        arrays = {name: column.array for name, column in fields.items()} | extra
        self._read = _Reader(fields)
        self._numbers = {name: number for number, name in enumerate(arrays, first)}
        self.alias: Final = alias
        self.columns: Final = ", ".join(column.name or name for name, column in fields.items())
        self.values: Final = ", ".join(column.value.format(name) for name, column in fields.items())
        parameters = ", ".join(f"{self[name]}::{array}[]" for name, array in arrays.items())
        self.rows: Final = f"unnest({parameters}) AS {alias} ({', '.join(arrays)})"
        self.after: Final = first + len(arrays)  # the number of the first parameter behind the arrays

    def __getitem__(self, name: str) -> str:
        """Return the parameter that holds the array of a field, such as `$1`."""
        return f"${self._numbers[name]}"

    def arrays(self, rows: Sequence[RowT], *extra: Sequence[object]) -> list[Sequence[object]]:
        """Return the arguments: one array per field, then those of `extra`, in their order."""
        return [*self._read.columns(rows), *extra]


class Scalars(Generic[RowT]):
    """The parameters that are made of one struct of type `row`, from `$1`."""

    def __init__(self, row: type[RowT]) -> None:
        fields = _columns(row)
        self._read = _Reader(fields)
        self._numbers = {name: number for number, name in enumerate(fields, 1)}

    def __getitem__(self, name: str) -> str:
        """Return the parameter of a field, such as `$1`."""
        return f"${self._numbers[name]}"

    def values(self, row: RowT) -> list[object]:
        """Return the arguments."""
        return [element for (element,) in self._read.columns([row])]


class _Reader:
    """Reads the fields of many structs at once: this is on the hot path, so the loops are those of C functions."""

    def __init__(self, fields: dict[str, Column]) -> None:
        assert len(fields) > 1, "attrgetter returns no tuple for one name"
        self._get = attrgetter(*fields)
        self._width = len(fields)
        self._converted = [
            (index, column.convert) for index, column in enumerate(fields.values()) if column.convert is not None
        ]

    def columns(self, rows: Sequence[Any]) -> list[Sequence[object]]:
        """Return one sequence per field."""
        columns: list[Sequence[object]] = list(zip(*map(self._get, rows), strict=True)) or [()] * self._width
        for index, convert in self._converted:
            columns[index] = [None if value is None else convert(value) for value in columns[index]]
        return columns


def _columns(row: type) -> dict[str, Column]:
    return {name: _column(hint) for name, hint in typing.get_type_hints(row, include_extras=True).items()}


def _column(hint: Any) -> Column:
    """Return the Column that the field's annotation holds, or the one of its type."""
    for each in getattr(hint, "__metadata__", ()):
        if isinstance(each, Column):
            return each
    if isinstance(hint, types.UnionType):  # only `X | None` has a column
        (hint,) = (each for each in typing.get_args(hint) if each is not types.NoneType)
        return _column(hint)
    if typing.get_origin(hint) is typing.Literal or (isinstance(hint, type) and issubclass(hint, str)):
        return Column("text")
    return Column(ARRAY_TYPES[hint])
