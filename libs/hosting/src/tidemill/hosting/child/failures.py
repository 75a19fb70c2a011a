"""How a child's boot fails and how its process ends, in words for the model's author and users. Pure."""

import signal
from typing import Final, NamedTuple

from tidemill.contracts.errors import ErrorCode
from tidemill.model.host.child_events import ChildExit, Fault
from tidemill.model.wire.channel import CLOSED, ORPHANED_EXIT_CODE

BOOT_LOG_LIMIT_CHARS: Final = 64 * 1024  # the end of setup's log says why it failed
# What C and C++ libraries print before they abort with signal 6.
_MEMORY_TEXTS: Final = (b"std::bad_alloc", b"out of memory", b"Cannot allocate memory", b"can't allocate memory")


class BootFailed(Exception):  # noqa: N818 - named after the situation
    """The model could not be booted; the message is for its author."""


class ChildFailure(NamedTuple):
    """Why a child's process ended. `final`: another attempt would end the same way."""

    error: str
    code: ErrorCode
    final: bool = False


def describe_exit(ended: ChildExit) -> str:
    """Return the reason in a few words, to be put after a colon."""
    if ended.code == ORPHANED_EXIT_CODE:  # the child noticed the closed connection before its parent did
        return CLOSED
    if ended.poisoned is not None:
        is_known = ended.fault in {Fault.CLOSED, Fault.FLOOD}
        return ended.poisoned if is_known else f"it broke the worker's protocol ({ended.poisoned})"
    if ended.signal == signal.SIGKILL:
        return "killed (signal 9), perhaps because the machine ran out of memory"
    return f"signal {ended.signal}" if ended.signal is not None else f"exit status {ended.code}"


def child_failure(ended: ChildExit, *, kernel_kills: int, printed: bytes) -> ChildFailure:
    """Return the failure that the predictions of the child end with.

    `kernel_kills`: processes that the kernel killed recently for lack of memory; the child may be among them.
    `printed`: the last bytes of its standard streams.
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
