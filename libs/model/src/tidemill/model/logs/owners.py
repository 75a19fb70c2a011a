"""Whose it is what code prints: set-up's, a prediction's, or that of all predictions of a batch's call.

The owner is a context variable. Threads and work handed to executors take it along (see threads.py), processes get a
pipe of their owner's (see processes.py). What is printed for an owner that is over is nobody's: it reaches the
instance's own log, never the logs of a prediction that happens to run by then.
"""

import codecs
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from cog._scope import installed_scope, set_scope

Result = TypeVar("Result")

_utf8: Final = codecs.getincrementaldecoder("utf-8")


class Owner:
    """`ids` are the predictions it stands for, None for set-up, none for nobody."""

    __slots__ = ("decoders", "ids", "over", "pipe", "unfinished")

    def __init__(self, ids: Sequence[str] | None) -> None:
        self.ids = ids
        self.over = False
        self.pipe: int | None = None  # where the processes that it starts write to
        # By stream, once something is printed: what of a line waits for its end, and the decoders of bytes.
        self.unfinished: dict[str, list[str]] | None = None
        self.decoders: dict[str, codecs.IncrementalDecoder] | None = None

    def waiting(self, stream: str) -> list[str]:
        if self.unfinished is None:
            self.unfinished = {}
        return self.unfinished.setdefault(stream, [])

    def decoder(self, stream: str) -> codecs.IncrementalDecoder:
        if self.decoders is None:
            self.decoders = {}
        return self.decoders.setdefault(stream, _utf8("replace"))


NOBODY: Final = Owner(())
_current: Final[ContextVar[Owner]] = ContextVar("tidemill_owner", default=NOBODY)


def current() -> Owner:
    owner = _current.get()
    return NOBODY if owner.over else owner


def become(owner: Owner) -> Owner:
    """What this context prints from here on is the owner's. Returns whose it was."""
    before = _current.get()
    _current.set(owner)
    return before


def carried() -> Callable[[], None]:
    """Makes another context, of another thread, print and record for whom this one does."""
    owner, scope = _current.get(), installed_scope()

    def take_over() -> None:
        _current.set(owner)
        set_scope(scope)

    return take_over


def bound(function: Callable[..., Result]) -> Callable[..., Result]:
    """The function, for a thread that runs others' after it: while it runs it is for whom this context is."""
    take_over = carried()

    def for_owner(*arguments: Any, **named: Any) -> Result:
        give_back = carried()
        take_over()
        try:
            return function(*arguments, **named)
        finally:
            give_back()

    return for_owner
