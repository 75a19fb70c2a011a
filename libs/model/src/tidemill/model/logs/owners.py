"""The owner of printed text: setup, one prediction, or all predictions of one batch call.

The owner is a context variable. Threads and work handed to executors inherit it (threads.py); processes get a pipe of
their owner (processes.py). Text printed for an owner that has ended has no owner: it goes to the instance's own log,
never to the logs of a prediction that runs by then.
"""

import codecs
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from cog._scope import installed_scope, set_scope

Result = TypeVar("Result")

_utf8: Final = codecs.getincrementaldecoder("utf-8")


class LogOwner:
    """`ids` are its predictions; None for setup, empty for no owner."""

    __slots__ = ("decoders", "ended", "ids", "pipe", "unfinished")

    def __init__(self, ids: Sequence[str] | None) -> None:
        self.ids = ids
        self.ended = False
        self.pipe: int | None = None  # the writing end for the processes that it starts
        # By stream, after the first text: the parts of an unfinished line, and the decoder of bytes.
        self.unfinished: dict[str, list[str]] | None = None
        self.decoders: dict[str, codecs.IncrementalDecoder] | None = None

    def unfinished_parts(self, stream: str) -> list[str]:
        if self.unfinished is None:
            self.unfinished = {}
        return self.unfinished.setdefault(stream, [])

    def decoder(self, stream: str) -> codecs.IncrementalDecoder:
        if self.decoders is None:
            self.decoders = {}
        return self.decoders.setdefault(stream, _utf8("replace"))


NO_OWNER: Final = LogOwner(())
_current: Final[ContextVar[LogOwner]] = ContextVar("tidemill_owner", default=NO_OWNER)


def current_owner() -> LogOwner:
    owner = _current.get()
    return NO_OWNER if owner.ended else owner


def set_owner(owner: LogOwner) -> LogOwner:
    """Set the owner of what this context prints. Return the owner before."""
    before = _current.get()
    _current.set(owner)
    return before


def capture_context() -> Callable[[], None]:
    """Return a function that sets this context's owner and scope in another context."""
    owner, scope = _current.get(), installed_scope()

    def restore() -> None:
        _current.set(owner)
        set_scope(scope)

    return restore


def bind_context(function: Callable[..., Result]) -> Callable[..., Result]:
    """Return the function with this context's owner and scope, for a thread that runs other functions after it."""
    restore = capture_context()

    def with_context(*arguments: Any, **named: Any) -> Result:
        restore_before = capture_context()
        restore()
        try:
            return function(*arguments, **named)
        finally:
            restore_before()

    return with_context
