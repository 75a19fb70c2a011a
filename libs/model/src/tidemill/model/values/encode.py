"""Converts a returned or yielded value to plain JSON values and a list of files.

Types are checked in the order of Cog. The result is strict JSON: no NaN, no lone surrogates, text keys only. A text is
never taken for a path.
"""

import dataclasses
import datetime as dt
import enum
import math
import os
from collections.abc import Iterator, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from typing import Any, Final

import cog
from cog.coder import Coder
from tidemill.model.errors.contract import OutputError
from tidemill.model.introspection.shapes import Kind, Shape
from tidemill.model.values import output_files
from tidemill.model.values.output_files import OutputFile
from tidemill.model.values.output_shape import check

__all__ = ["OutputError", "OutputFile", "encode_output"]

DEPTH_LIMIT_LEVELS: Final = 100  # the limit of common JSON parsers; also stops at a value that contains itself
CONTAINERS: Final = (Sequence, AbstractSet, Iterator, ValuesView)
BINARY: Final = (bytes, bytearray, memoryview)


def encode_output(value: Any, declared: Shape | None = None) -> tuple[Any, list[OutputFile]]:
    """Return the JSON value, and its files in the order of their places in it. Raise OutputError.

    `declared` is the shape that one emitted value must have (`signature.output.shape`); None accepts any. File names
    are unique within one value, not between the values of an iterator.
    """
    if type(value) is str and (declared is None or declared.kind is Kind.STRING):
        return _text(value), []  # fast path: the token of a language model
    encoder = _Encoder()
    encoded = encoder.encode(value, "", 0)
    if declared is not None:
        check(encoded, declared, {file.pointer for file in encoder.files})
    return encoded, encoder.files


class _Encoder:
    def __init__(self) -> None:
        self.files: list[OutputFile] = []
        self._names: set[str] = set()

    def encode(self, value: Any, pointer: str, depth: int) -> Any:
        if value is None or value is True or value is False:
            return value
        kind = type(value)
        if kind is str:
            return _text(value)
        if kind is int:
            return value
        if kind is float:
            return _finite(value, pointer)
        if depth > DEPTH_LIMIT_LEVELS:
            raise OutputError(f"the output is nested deeper than {DEPTH_LIMIT_LEVELS} levels, or contains itself")
        return self._object(value, pointer, depth)

    def _object(self, value: Any, pointer: str, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self._mapping(value, pointer, depth)
        simpler = _simplify(value)
        if simpler is not value:
            return self.encode(simpler, pointer, depth + 1)
        if isinstance(value, os.PathLike):
            return self._file(output_files.from_path(pointer, value))
        if output_files.is_file_object(value):
            return self._file(output_files.from_file_object(pointer, value))
        if isinstance(value, CONTAINERS) and not isinstance(value, BINARY):
            return [self.encode(item, f"{pointer}/{index}", depth + 1) for index, item in enumerate(value)]
        return self.encode(_library_value(value, pointer), pointer, depth + 1)

    def _mapping(self, value: Mapping[Any, Any], pointer: str, depth: int) -> dict[str, Any]:
        encoded: dict[str, Any] = {}
        for key, item in value.items():
            name = _key(key, pointer)
            if name in encoded:
                raise OutputError(f"{_place(pointer)} has two keys that are {name!r} in JSON")
            encoded[name] = self.encode(item, f"{pointer}/{_escape(name)}", depth + 1)
        return encoded

    def _file(self, file: OutputFile) -> None:
        """Record the file under a unique name. Return None: the null in the place of the file's URL."""
        name = _text(os.fsencode(file.name).decode("utf-8", "replace")) or output_files.UNNAMED
        stem, extension = os.path.splitext(name)  # noqa: PTH122 - a text, not a path
        number = 0
        while name in self._names:
            number += 1
            name = f"{stem}-{number}{extension}"
        self._names.add(name)
        self.files.append(dataclasses.replace(file, name=name))


def _simplify(value: Any) -> Any:
    """Convert a value of a known type one step towards JSON; return any other value unchanged."""
    if isinstance(value, type):
        return value
    coder = Coder.lookup(type(value))
    if coder is not None:
        return coder.encode(value)
    is_dataclass = dataclasses.is_dataclass(value)
    if is_dataclass and isinstance(value, cog.BaseModel):
        return _shallow(value)  # before the next line: it may have a field called "dict"
    dump = getattr(value, "model_dump", None) or getattr(value, "dict", None)
    if callable(dump):
        return dump()
    return _shallow(value) if is_dataclass else _simplify_scalar(value)


def _simplify_scalar(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (str, int, float)):
        return _builtin(value)
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    return str(value) if isinstance(value, cog.URLPath) else value  # not fetched: its URL stands for the file


def _shallow(value: Any) -> dict[str, Any]:
    """Return the fields, without the copies that `dataclasses.asdict` would make of files."""
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _library_value(value: Any, pointer: str) -> Any:
    """Convert a value of numpy. Raise OutputError, with advice, for any other value."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    if library == "numpy" and callable(getattr(value, "tolist", None)):
        return value.tolist()
    if library == "torch":
        raise _unsupported(pointer, f"is a torch {kind.__name__}; return .item() or .tolist() of it")
    if library == "PIL":
        raise _unsupported(pointer, "is an image object; save it to a file and return its Path")
    if isinstance(value, BINARY):
        raise _unsupported(pointer, "is bytes; write them to a file and return its Path")
    if hasattr(value, "__aiter__") or hasattr(value, "__await__"):
        raise _unsupported(pointer, f"is an async {kind.__name__} inside the output; await or collect it first")
    raise _unsupported(pointer, f"is of type {kind.__qualname__}, which JSON has no form for")


def _builtin(value: Any) -> Any:
    """Return the built-in value of a subclass, such as numpy's float64 or an author's `class Name(str)`."""
    if isinstance(value, str):
        return str.__str__(value)
    return int.__int__(value) if isinstance(value, int) else float.__float__(value)


def _text(value: str) -> str:
    """Return valid Unicode: UTF-8 cannot encode a lone surrogate, which becomes a question mark."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _finite(value: float, pointer: str) -> float:
    if math.isfinite(value):
        return value
    raise OutputError(f"{_place(pointer)} is {value}, and JSON has no NaN or Infinity; return None or a number instead")


def _key(key: Any, pointer: str) -> str:
    if isinstance(key, enum.Enum):
        key = key.value
    if type(key).__module__ == "numpy":
        key = key.item()
    if isinstance(key, str):
        return _text(_builtin(key))
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, (int, float)):
        return repr(_builtin(key))
    raise OutputError(f"{_place(pointer)} has a key of type {type(key).__name__}; JSON keys are texts")


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _place(pointer: str) -> str:
    return f"the output at {pointer}" if pointer else "the output"


def _unsupported(pointer: str, reason: str) -> OutputError:
    return OutputError(f"{_place(pointer)} {reason}")
