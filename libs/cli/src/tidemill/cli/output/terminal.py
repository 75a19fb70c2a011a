"""Escapes control characters in what is written to a terminal.

Models, names and descriptions are untrusted, and terminals obey escape sequences: they clear the screen, set the title,
write the clipboard, or send input. So all output to a terminal goes through EscapingTerminal, which shows such
characters instead. It escapes each character by itself, so a sequence in several writes is escaped too. Pipes and files
get the text unchanged.
"""

import codecs
import io
import re
import sys
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# All controls but tab and line feed (a carriage return before a line feed is harmless), marks that change the direction
# of writing, and lone surrogates, which cannot be encoded. Colour sequences are escaped too: they could hide text, and
# we print none.
_CONTROLS: Final = "\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff"
_UNSAFE: Final = re.compile(f"[{_CONTROLS}]|\\r(?!\\n)")
_UNSAFE_BUT_RETURNS: Final = re.compile(f"[{_CONTROLS}]")


def install() -> None:
    """Escape everything that this process writes to terminals from now on."""
    sys.stdout, sys.stderr = escape_if_terminal(sys.stdout), escape_if_terminal(sys.stderr)


def escape_if_terminal(stream: TextIO) -> TextIO:
    """Return an escaping stream for a terminal, and any other stream unchanged."""
    if not stream.isatty():
        return stream
    return io.TextIOWrapper(
        EscapingTerminal(stream), encoding="utf-8", errors="backslashreplace", newline="\n", line_buffering=True
    )


class EscapingTerminal(io.BufferedIOBase):
    """A terminal that takes bytes. `isatty` is false: colours would be escaped, so no library should send any."""

    name: Final = "<terminal>"  # the name that the text layer above shows

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        self._terminal.write(escape(self._decoder.decode(data)))
        return len(memoryview(data))

    def flush(self) -> None:
        self._terminal.flush()

    def write_log(self, text: str) -> None:
        self._terminal.write(escape(text, returns=True))
        self._terminal.flush()


def print_log(text: str, *, err: bool = False) -> None:
    """Print a model's log. Carriage returns are kept: progress bars rewrite their own line.

    Elsewhere they are escaped: a name with one could overwrite what we printed before it.
    """
    stream = sys.stderr if err else sys.stdout
    stream.flush()
    if isinstance(stream.buffer, EscapingTerminal):
        stream.buffer.write_log(text)
    else:
        stream.write(text)
        stream.flush()


def escape(text: str, *, returns: bool = False) -> str:
    """Return the text with control characters made visible; `returns` keeps carriage returns. Pure."""
    return (_UNSAFE_BUT_RETURNS if returns else _UNSAFE).sub(_visible, text)


def _visible(found: re.Match[str]) -> str:
    """Return `^[` for an escape, as cat -v and less do; characters without such a name by their code point."""
    code = ord(found[0])
    return f"^{chr(code ^ 0x40)}" if code < 0x80 else f"<U+{code:04X}>"
