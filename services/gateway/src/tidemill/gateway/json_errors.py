"""Explains why a body is not JSON, where the decoder's own message would mislead. Pure."""

import re
from typing import Final

# Escapes of surrogates, which are halves of characters: a high one must be followed by a low one.
_HIGH: Final = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW: Final = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_PAIR_OR_HALF: Final = re.compile(rb"\\\\|" + _HIGH + _LOW + rb"|(?P<half>" + _HIGH + rb"|" + _LOW + rb")")
_POSITION: Final = re.compile(r"\(byte (\d+)\)")
_WINDOW_BYTES: Final = (
    64  # the decoder stops within the length of a pair; searching megabytes would block the event loop
)


def reason(body: bytes, error: Exception) -> str:
    """Return the reason for the client. The decoder reports half an emoji near the end as a truncated body."""
    message = str(error)
    position = _POSITION.search(message)
    if "surrogate" in message and position is not None:
        end = min(len(body), int(position[1]) + len(r"\u0000"))
    elif "truncated" in message:
        end = len(body)
    else:
        return message
    start = max(0, end - _WINDOW_BYTES)
    lone = [match for match in _PAIR_OR_HALF.finditer(body[start:end]) if match["half"]]
    if not lone:
        return message
    last = lone[-1]
    escape, at = last["half"].decode(), start + last.start("half")
    return f"{escape} at byte {at} is half of a character (a lone surrogate), which no text can hold"
