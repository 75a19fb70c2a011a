"""Decorators that only mark `run()`/`predict()`; the child reads the marks, the function itself stays as it was."""

from collections.abc import Callable
from typing import Any, Final, TypeVar, overload

STREAMING_MARK: Final = "__cog_streaming__"
CONCURRENCY_MARK: Final = "__cog_concurrency__"

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
