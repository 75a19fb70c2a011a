"""What commands raise for the person who called them; `main` prints it in one line and exits with status 1."""


class CommandError(Exception):
    """What went wrong, for the person at the terminal."""
