"""How a child's boot can fail and its process end, in words for the model's author and its users. Pure."""

from typing import Final

from tidemill.model.child_process import Exit

BOOT_LOG_LIMIT_CHARS: Final = 64 * 1024  # the end of a set-up's log says why it failed


class BootFailed(Exception):  # noqa: N818 - named after the situation
    """The model did not come up; the message is for its author."""


def describe(ended: Exit) -> str:
    """For the error of a prediction."""
    if ended.poisoned is not None:
        return f"it broke the worker's protocol ({ended.poisoned})"
    if ended.signal == 9:
        return "killed (signal 9), perhaps because the machine ran out of memory"
    return f"signal {ended.signal}" if ended.signal is not None else f"exit status {ended.code}"
