"""`Input()`: an author's description of one parameter. It only records; the child checks and applies it."""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final


class Missing(enum.Enum):
    """The type of MISSING, which distinguishes `Input()` (required) from `Input(default=None)` (optional)."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING


@dataclass(frozen=True)
class FieldInfo:
    default: Any = MISSING
    description: str | None = None
    ge: float | None = None
    le: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    regex: str | None = None
    choices: Sequence[Any] | None = None
    deprecated: bool | None = None
    accept: Sequence[str] | str | None = None


def Input(  # noqa: N802 - the name is Cog's
    default: Any = MISSING,
    description: str | None = None,
    *,
    ge: float | None = None,
    le: float | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    regex: str | None = None,
    choices: Iterable[Any] | None = None,
    deprecated: bool | None = None,
    accept: Sequence[str] | str | None = None,
) -> Any:
    """Describes a parameter of `run()`, `predict()` or `train()`; stands where its default value would.

    `choices` may be any iterable (`SCHEDULERS.keys()`); an ellipsis as default means required, as pydantic has it.
    """
    return FieldInfo(
        default=MISSING if default is ... else default,
        description=description,
        ge=ge,
        le=le,
        min_length=min_length,
        max_length=max_length,
        regex=regex,
        choices=None if choices is None else list(choices),
        deprecated=deprecated,
        accept=accept,
    )
