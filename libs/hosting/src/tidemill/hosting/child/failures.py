"""How a child's boot can fail and its process end, in words for the model's author and its users. Pure."""

import signal
from typing import Final, NamedTuple

from tidemill.contracts.errors import ErrorCode
from tidemill.model.host.child_events import ChildExit, Fault
from tidemill.model.wire.channel import CLOSED, ORPHANED_EXIT_CODE

BOOT_LOG_LIMIT_CHARS: Final = 64 * 1024  # the end of a set-up's log says why it failed
# What C and C++ say before they give up; `signal` 6 is how they do it.
_MEMORY_TEXTS: Final = (b"std::bad_alloc", b"out of memory", b"Cannot allocate memory", b"can't allocate memory")


class BootFailed(Exception):  # noqa: N818 - named after the situation
    """The model did not come up; the message is for its author."""


class ChildFailure(NamedTuple):
    """How a child's process ended, for what it was at. `final`: another attempt would end the same way."""

    error: str
    code: ErrorCode
    final: bool = False


def describe_exit(ended: ChildExit) -> str:
    """In a few words, after a colon."""
    if ended.code == ORPHANED_EXIT_CODE:  # it saw it itself, before we did
        return CLOSED
    if ended.poisoned is not None:
        told = ended.fault in {Fault.CLOSED, Fault.FLOOD}
        return ended.poisoned if told else f"it broke the worker's protocol ({ended.poisoned})"
    if ended.signal == signal.SIGKILL:
        return "killed (signal 9), perhaps because the machine ran out of memory"
    return f"signal {ended.signal}" if ended.signal is not None else f"exit status {ended.code}"


def child_failure(ended: ChildExit, *, kernel_kills: int, printed: bytes) -> ChildFailure:
    """`kernel_kills`: processes that the kernel has killed lately for want of memory, which this one may be among.
    `printed`: the last it wrote to its standard streams.
    """
    if ended.fault is Fault.FLOOD:
        return ChildFailure(f"The model's process ended: {describe_exit(ended)}.", ErrorCode.MODEL_FLOODED, final=True)
    if ended.poisoned is None and ended.signal == signal.SIGKILL and kernel_kills:
        return ChildFailure(
            "The machine ran out of memory, and the model's process was killed.", ErrorCode.OUT_OF_MEMORY
        )
    if ended.signal == signal.SIGABRT and any(text in printed for text in _MEMORY_TEXTS):
        return ChildFailure("The model ran out of memory, and its process ended.", ErrorCode.OUT_OF_MEMORY)
    return ChildFailure(f"The model's process ended: {describe_exit(ended)}.", ErrorCode.MODEL_CRASHED)
