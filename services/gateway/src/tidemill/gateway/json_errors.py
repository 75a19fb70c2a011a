"""Why a body is no JSON, where the decoder's own words would mislead. Pure."""

import re
from typing import Final

# Escapes of surrogates, which are halves of characters: a first one wants a second one right after it.
_FIRST: Final = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_SECOND: Final = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_PAIR_OR_HALF: Final = re.compile(rb"\\\\|" + _FIRST + _SECOND + rb"|(?P<half>" + _FIRST + rb"|" + _SECOND + rb")")
_POSITION: Final = re.compile(r"\(byte (\d+)\)")
_WINDOW_BYTES: Final = 64  # the decoder stops within a pair's length; nobody waits for a search of megabytes


def reason(body: bytes, error: Exception) -> str:
    """In words for whoever sent the body. The decoder takes half an emoji near the end for a body cut short."""
    said = str(error)
    position = _POSITION.search(said)
    if "surrogate" in said and position is not None:
        end = min(len(body), int(position[1]) + len(r"\u0000"))
    elif "truncated" in said:
        end = len(body)
    else:
        return said
    start = max(0, end - _WINDOW_BYTES)
    halves = [match for match in _PAIR_OR_HALF.finditer(body[start:end]) if match["half"]]
    if not halves:
        return said
    half = halves[-1]
    escape, at = half["half"].decode(), start + half.start("half")
    return f"{escape} at byte {at} is half of a character (a lone surrogate), which no text can hold"
