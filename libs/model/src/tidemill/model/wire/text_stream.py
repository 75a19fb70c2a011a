"""The text pipe between a child and its worker: UTF-8 text as it is printed, and before it a marker that says whose it
is, wherever the owner changes. The one place that defines it.

A marker is a zero byte, the ids with commas between, and a line feed: `*` for set-up, no id for nobody's. Text holds no
zero byte. The kernel keeps what is written, so that the last words of a process that dies are not lost; a line costs
its writer one call and the reader a part of a read.
"""

import codecs
from collections.abc import Sequence
from typing import Final

OWNER_LIMIT: Final = 1024  # ids of a marker: as many as a call of a batch may be for
MARKER_LIMIT_BYTES: Final = 64 * 1024  # so many ids, with room to spare
SETUP: Final = b"*"

OwnerIds = Sequence[str] | None  # None is set-up, none of them nobody
Piece = tuple[OwnerIds, str]


def marker(ids: OwnerIds) -> bytes:
    return b"\0%s\n" % (SETUP if ids is None else ",".join(ids).encode())


def clean(text: str) -> bytes:
    """As bytes that hold no marker."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace")


class TextDecoder:
    """Cuts what comes into pieces of one owner each. A character may be cut by the end of a read, not by a marker."""

    def __init__(self, ids: OwnerIds = ()) -> None:
        """`ids` own what comes before the first marker."""
        self._ids = ids
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun: bytes | None = None  # a marker whose end is still to come

    def feed(self, data: bytes) -> list[Piece]:
        """Raises ValueError for a marker that no child of ours makes."""
        first, *marked = data.split(b"\0")
        pieces = [self._plain(first) if self._begun is None else self._marked(first)]
        for part in marked:
            pieces.append((self._ids, self._end()))
            self._begun = b""
            pieces.append(self._marked(part))
        return [piece for piece in pieces if piece[1]]

    def end(self) -> list[Piece]:
        """What the last owner left of a character."""
        rest = self._end()
        return [(self._ids, rest)] if rest else []

    def _end(self) -> str:
        return self._utf8.decode(b"", final=True)

    def _plain(self, data: bytes) -> Piece:
        return self._ids, self._utf8.decode(data)

    def _marked(self, data: bytes) -> Piece:
        """From within a marker."""
        said, ended, text = ((self._begun or b"") + data).partition(b"\n")
        if len(said) > MARKER_LIMIT_BYTES:
            raise ValueError("it printed for an owner of no end")
        self._begun = None if ended else said
        if not ended:
            return (), ""
        self._ids = None if said == SETUP else _ids(said)
        return self._plain(text)


def _ids(said: bytes) -> Sequence[str]:
    ids = tuple(said.decode("utf-8", "replace").split(",")) if said else ()
    if len(ids) > OWNER_LIMIT:
        raise ValueError(f"it printed for {len(ids)} predictions at once")
    return ids
