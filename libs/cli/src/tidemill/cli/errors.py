"""Errors that commands raise for the user. `main` prints them in one line and exits with their status."""

from typing import Final

FAILED: Final = 1
INTERRUPTED: Final = 130  # the shells' convention: 128 + SIGINT


class CommandError(Exception):
    """The reason why a command failed, as the user reads it."""

    exit_status = FAILED


class Canceled(CommandError):  # noqa: N818 - named after the situation
    """The user pressed Ctrl-C."""

    exit_status = INTERRUPTED
