"""What reaches a terminal. Models, and whoever names and describes them, are strangers, and a terminal obeys what
stands in a text: it clears itself, takes another title, copies to the clipboard, answers as if somebody had typed.

So nothing is written to one but through a Screen, which shows such characters in place of sending them. It looks at
each by itself: a sequence that comes in pieces is as harmless as a whole one. Pipes and files get texts as they are.
"""

import codecs
import io
import re
import sys
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Controls but for tab and line feed (a return just before one does no more than that), what writes the rest of a line
# in another direction, and halves of characters, which cannot be written. Colours are among the controls: they could
# hide what stands beside them, and we use none.
_OBEYED: Final = "\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff"
_ACTING: Final = re.compile(f"[{_OBEYED}]|\\r(?!\\n)")
_ACTING_BUT_RETURNS: Final = re.compile(f"[{_OBEYED}]")


def guard() -> None:
    """From here on, this process writes to terminals through Screens."""
    sys.stdout, sys.stderr = guarded(sys.stdout), guarded(sys.stderr)


def guarded(stream: TextIO) -> TextIO:
    if not stream.isatty():
        return stream
    return io.TextIOWrapper(
        Screen(stream), encoding="utf-8", errors="backslashreplace", newline="\n", line_buffering=True
    )


class Screen(io.BufferedIOBase):
    """A terminal as bytes are written to it. To who asks it is none: nobody need colour what is not obeyed."""

    name: Final = "<terminal>"  # for the text on top of it

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        self._terminal.write(harmless(self._decoder.decode(data)))
        return len(memoryview(data))

    def flush(self) -> None:
        self._terminal.flush()

    def write_log(self, text: str) -> None:
        self._terminal.write(harmless(text, returns=True))
        self._terminal.flush()


def log(text: str, *, err: bool = False) -> None:
    """Prints what a model prints. Its lines are its own, and it may begin one afresh, as progress bars do.

    Elsewhere it may not: a name that did so would take the place of what we say before it.
    """
    stream = sys.stderr if err else sys.stdout
    stream.flush()
    if isinstance(stream.buffer, Screen):
        stream.buffer.write_log(text)
    else:
        stream.write(text)
        stream.flush()


def harmless(text: str, *, returns: bool = False) -> str:
    """The text as a terminal may get it; `returns` to the beginning of a line may stay. Pure."""
    return (_ACTING_BUT_RETURNS if returns else _ACTING).sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    """`^[` for an escape, as cat -v and less show it; what has no such name by its number."""
    code = ord(found[0])
    return f"^{chr(code ^ 0x40)}" if code < 0x80 else f"<U+{code:04X}>"
