"""Finds where a request ends in the bytes of a connection, without parsing it. Pure.

Only plain requests are framed. What could be understood in two ways is left to the server's own parser.
"""

import re
from typing import Final, NamedTuple

HEAD_END: Final = b"\r\n\r\n"
# Headers with another framing or that the server must handle itself, folded lines, and lines without CRLF.
NOT_PLAIN: Final = re.compile(rb"\r\n(?:transfer-encoding|expect|upgrade|origin|[ \t])|(?<!\r)\n").search
LENGTH: Final = b"\r\ncontent-length:"
AUTHORIZATION: Final = b"\r\nauthorization:"
CONNECTION: Final = b"\r\nconnection:"


class RequestFrame(NamedTuple):
    """`line`: method and target as sent. `authorization`: its value. `size`: bytes of head and body together."""

    line: bytes
    authorization: bytes
    size: int


def parse_frame(data: bytes) -> RequestFrame | None:
    """Return the request at the start of `data`. None if its head is incomplete or it is not plain."""
    end = data.find(HEAD_END)
    if end < 0:
        return None
    head = data[: end + 2]
    lowered = head.lower()
    line, _, version = head[: head.find(b"\r\n")].rpartition(b" ")
    if version != b"HTTP/1.1" or line.startswith(b"HEAD ") or NOT_PLAIN(lowered):
        return None
    length, authorization = _value(head, lowered, LENGTH), _value(head, lowered, AUTHORIZATION)
    connection = _value(head, lowered, CONNECTION)
    if length is None or authorization is None or connection is None:
        return None
    if (length and not length.isdigit()) or connection.lower() not in {b"", b"keep-alive"}:
        return None
    return RequestFrame(line, authorization, end + len(HEAD_END) + int(length or 0))


def _value(head: bytes, lowered: bytes, name: bytes) -> bytes | None:
    """Return the value of a header: empty if it is missing, None if it occurs twice."""
    at = lowered.find(name)
    if at < 0:
        return b""
    if lowered.find(name, at + 1) >= 0:
        return None
    start = at + len(name)
    return head[start : head.find(b"\r\n", start)].strip()
