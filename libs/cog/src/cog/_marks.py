"""Decorators that mark `run()` and `predict()` without changing them. The child reads the marks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, overload

STREAMING_MARK: Final = "__cog_streaming__"
CONCURRENCY_MARK: Final = "__cog_concurrency__"
BATCH_MARK: Final = "__cog_batch__"

DEFAULT_MAX_WAIT_MS: Final = 5  # predictions of one burst arrive within this time; hardly noticeable for a single one

Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def streaming(function: Function) -> Function: ...
@overload
def streaming() -> Callable[[Function], Function]: ...
def streaming(function: Any = None) -> Any:
    """Marks a function as one whose output is meant to be streamed; works with and without parentheses."""
    if function is None:
        return streaming
    setattr(function, STREAMING_MARK, True)
    return function


def concurrent(*, max: int) -> Callable[[Function], Function]:  # noqa: A002 - the name is Cog's
    """Lets one instance run up to `max` predictions at once; more than one needs an async function."""
    if type(max) is not int or max < 1:
        raise ValueError(f"@concurrent(max=...) takes a whole number of 1 or more, not {max!r}")

    def mark(function: Function) -> Function:
        setattr(function, CONCURRENCY_MARK, max)
        return function

    return mark


@dataclass(frozen=True)
class BatchSettings:
    max_size: int
    max_wait_ms: int


def batch(*, max_size: int, max_wait_ms: int = DEFAULT_MAX_WAIT_MS) -> Callable[[Function], Function]:
    """Lets one call answer up to `max_size` predictions; the first of them waits `max_wait_ms` for the others at most.

    The parameters that differ from prediction to prediction are annotated `Batch[T]`, and so is what is returned: one
    output for each prediction, in the same order, or an exception in the place of one that failed.
    """
    if type(max_size) is not int or max_size < 1:
        raise ValueError(f"@batch(max_size=...) takes a whole number of 1 or more, not {max_size!r}")
    if type(max_wait_ms) is not int or max_wait_ms < 0:
        raise ValueError(f"@batch(max_wait_ms=...) takes a whole number of 0 or more, not {max_wait_ms!r}")

    def mark(function: Function) -> Function:
        setattr(function, BATCH_MARK, BatchSettings(max_size, max_wait_ms))
        return function

    return mark
