"""What commands raise for the person who called them; `main` prints it in one line and exits with its status."""

from typing import Final

FAILED: Final = 1
INTERRUPTED: Final = 130  # as shells have it: 128 + SIGINT


class CommandError(Exception):
    """What went wrong, for the person at the terminal."""

    exit_status = FAILED


class Canceled(CommandError):  # noqa: N818 - named after the situation
    """Ctrl-C, heeded"""

    exit_status = INTERRUPTED
