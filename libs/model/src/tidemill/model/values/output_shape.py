"""Checks an encoded output against the return annotation: clients rely on the published schema.

Only clear mismatches are errors: extra keys, and whole floats for ints, are accepted.
"""

from collections.abc import Callable, Collection
from typing import Any, Final

from tidemill.model.errors.contract import OutputError
from tidemill.model.introspection.shapes import FILE_KINDS, Kind, Shape, describe

URL_PREFIXES: Final = ("http://", "https://", "data:")


def check(encoded: Any, declared: Shape, files: Collection[str]) -> None:
    """Raise OutputError. `files` are the pointers at which a null stands for a file."""
    found = _mismatch(encoded, declared, "", files)
    if found is not None:
        pointer, shape, value = found
        place = f" at {pointer}" if pointer else ""
        raise OutputError(f"the output{place} is declared as {describe(shape)}, but it is {_shown(value, shape)}")


Mismatch = tuple[str, Shape, Any]


def _mismatch(value: Any, shape: Shape, pointer: str, files: Collection[str]) -> Mismatch | None:
    """Return the first place where value and shape differ."""
    if pointer in files and value is None:
        fits = shape.kind in FILE_KINDS | {Kind.ANY, Kind.STRING} or _some_option(value, shape, pointer, files)
        return None if fits else (pointer, shape, "a file")
    if value is None:
        fits = shape.nullable or shape.kind in {Kind.ANY, Kind.NONE} or None in shape.values
        return None if fits else (pointer, shape, None)
    if shape.kind is Kind.UNION:
        return None if _some_option(value, shape, pointer, files) else (pointer, shape, value)
    if not FITS[shape.kind](value, shape):
        return pointer, shape, value
    return _inner_mismatch(value, shape, pointer, files)


def _inner_mismatch(value: Any, shape: Shape, pointer: str, files: Collection[str]) -> Mismatch | None:
    parts: list[tuple[str, Shape, Any]] = []
    if shape.kind is Kind.LIST and shape.item is not None:
        parts = [(str(index), shape.item, item) for index, item in enumerate(value)]
    elif shape.kind is Kind.DICT and shape.item is not None:
        parts = [(key, shape.item, item) for key, item in value.items()]
    elif shape.kind is Kind.RECORD:
        present = [field for field in shape.fields if field.name in value or not field.has_default]
        parts = [(field.name, field.shape, value.get(field.name)) for field in present]
    for key, inner, item in parts:
        found = _mismatch(item, inner, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}", files)
        if found is not None:
            return found
    return None


def _some_option(value: Any, shape: Shape, pointer: str, files: Collection[str]) -> bool:
    return any(_mismatch(value, option, pointer, files) is None for option in shape.options)


def _is_number(value: Any, _shape: Shape) -> bool:
    return isinstance(value, (int, float))


def _is_whole(value: Any, _shape: Shape) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _is_url(value: Any, _shape: Shape) -> bool:
    return isinstance(value, str) and value.startswith(URL_PREFIXES)


def _is_a(kind: type) -> Callable[[Any, Shape], bool]:
    return lambda value, _shape: isinstance(value, kind)


FITS: Final[dict[Kind, Callable[[Any, Shape], bool]]] = {
    Kind.ANY: _is_a(object),
    Kind.NONE: lambda _value, _shape: False,
    Kind.STRING: _is_a(str),
    Kind.SECRET: _is_a(str),
    Kind.INTEGER: _is_whole,
    Kind.NUMBER: _is_number,
    Kind.BOOLEAN: _is_a(bool),
    Kind.PATH: _is_url,
    Kind.FILE: _is_url,
    Kind.OBJECT: _is_a(dict),
    Kind.DICT: _is_a(dict),
    Kind.RECORD: _is_a(dict),
    Kind.CODED: _is_a(object),
    Kind.LIST: _is_a(list),
    Kind.CHOICE: lambda value, shape: value in shape.values,
}


def _shown(value: Any, shape: Shape) -> str:
    if value is None or value == "a file":
        return "None" if value is None else "a file"
    if shape.kind in FILE_KINDS and isinstance(value, str):
        return f"the text {value[:100]!r}; wrap the name of a file in cog.Path"
    return f"{type(value).__name__} ({repr(value)[:100]})"
