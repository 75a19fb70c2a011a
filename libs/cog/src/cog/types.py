"""The types that annotate parameters and outputs."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, TypeVar

from cog._files import File, Path, URLFile, URLPath, get_filename
from cog._pydantic import Validated
from cog.exceptions import ExperimentalFeatureWarning
from cog.input import FieldInfo, Input

Item = TypeVar("Item")
SECRET_SCHEMA: Final = {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True}


class Secret(Validated):
    """A text that must not be shown: printing it prints asterisks."""

    _json_schema = SECRET_SCHEMA

    def __init__(self, secret_value: str | None = None) -> None:
        self._secret_value = secret_value

    def get_secret_value(self) -> str | None:
        return self._secret_value

    @classmethod
    def validate(cls, value: Any) -> "Secret":
        return value if isinstance(value, cls) else cls(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._secret_value == other._secret_value

    def __hash__(self) -> int:
        return hash(self._secret_value)

    def __len__(self) -> int:
        return len(self._secret_value or "")

    def __bool__(self) -> bool:
        return True  # as in pydantic: an empty secret is still a secret

    def __str__(self) -> str:
        return "**********" if self._secret_value else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"


Weights = File | Path | str
"""What `setup(self, weights)` may be given, as older releases of Cog named it."""


class ConcatenateIterator(Iterator[Item]):
    """Return annotation of a function that yields pieces of one text."""


class AsyncConcatenateIterator(AsyncIterator[Item]):
    """The same of an async function."""


class Batch(list[Item]):
    """Of a function under `@cog.batch`: one value for each prediction of the call. A list like any other."""


class _Opaque:
    def __repr__(self) -> str:
        return "cog.Opaque"


Opaque: Final = _Opaque()
"""`Annotated[T, Opaque]`: any JSON object, handed over as it comes."""

__all__ = [
    "AsyncConcatenateIterator",
    "Batch",
    "ConcatenateIterator",
    "ExperimentalFeatureWarning",
    "FieldInfo",
    "File",
    "Input",
    "Opaque",
    "Path",
    "Secret",
    "URLFile",
    "URLPath",
    "Weights",
    "get_filename",
]
