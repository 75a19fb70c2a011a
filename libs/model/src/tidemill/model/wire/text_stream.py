"""The format of the text pipe between a child and its worker. Only this module defines it.

It is UTF-8 text as printed, with a marker before it where the owner changes. A marker is a zero byte, the prediction
ids separated by commas, and a line feed; `*` stands for setup, no id for text without an owner. Text holds no zero
byte. The kernel keeps what is written, so the last lines of a dying process are not lost; a line costs one write.
"""

import codecs
from collections.abc import Sequence
from typing import Final

OWNER_LIMIT: Final = 1024  # ids in a marker: the largest batch
MARKER_LIMIT_BYTES: Final = 64 * 1024  # that many ids, with a margin
SETUP: Final = b"*"

OwnerIds = Sequence[str] | None  # None: setup; empty: no owner
Piece = tuple[OwnerIds, str]


def marker(ids: OwnerIds) -> bytes:
    return b"\0%s\n" % (SETUP if ids is None else ",".join(ids).encode())


def encode_text(text: str) -> bytes:
    """Encode text so that it holds no marker."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace")


class TextDecoder:
    """Cuts the stream into pieces of one owner each. A read may end inside a character, a marker never comes there."""

    def __init__(self, ids: OwnerIds = ()) -> None:
        """`ids` own the text before the first marker."""
        self._ids = ids
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial_marker: bytes | None = None  # an incomplete marker

    def feed(self, data: bytes) -> list[Piece]:
        """Return the pieces in `data`. Raise ValueError for an invalid marker."""
        first, *marked = data.split(b"\0")
        pieces = [self._plain(first) if self._partial_marker is None else self._marked(first)]
        for part in marked:
            pieces.append((self._ids, self._end()))
            self._partial_marker = b""
            pieces.append(self._marked(part))
        return [piece for piece in pieces if piece[1]]

    def end(self) -> list[Piece]:
        """Return the rest of an incomplete character at the end of the stream."""
        rest = self._end()
        return [(self._ids, rest)] if rest else []

    def _end(self) -> str:
        return self._utf8.decode(b"", final=True)

    def _plain(self, data: bytes) -> Piece:
        return self._ids, self._utf8.decode(data)

    def _marked(self, data: bytes) -> Piece:
        """Decode data that begins inside a marker."""
        header, ended, text = ((self._partial_marker or b"") + data).partition(b"\n")
        if len(header) > MARKER_LIMIT_BYTES:
            raise ValueError("it printed for an owner of no end")
        self._partial_marker = None if ended else header
        if not ended:
            return (), ""
        self._ids = None if header == SETUP else _parse_ids(header)
        return self._plain(text)


def _parse_ids(header: bytes) -> Sequence[str]:
    ids = tuple(header.decode("utf-8", "replace").split(",")) if header else ()
    if len(ids) > OWNER_LIMIT:
        raise ValueError(f"it printed for {len(ids)} predictions at once")
    return ids
