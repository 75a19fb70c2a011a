"""Inflates bodies that a server compressed without being asked: object stores return objects as they were uploaded.

Bodies are inflated in a thread, piece by piece, so that the reader can stop at a limit: a small body may be a zip bomb.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from tidemill.security.egress.errors import EgressFailed

PIECE_BYTES: Final = 1024 * 1024  # inflated at a time: about a millisecond
GZIP: Final = frozenset({"gzip", "x-gzip"})
_IDENTITY: Final = frozenset({"", "identity"})
# Types of files that are compressed themselves. Servers that guess by suffix send the coding too, but mean the file.
_GZIP_TYPES: Final = frozenset({"application/gzip", "application/x-gzip", "application/x-tgz", "application/x-gtar"})
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_MALFORMED: Final = "the server sent a compressed body that is malformed"


def is_compressed(coding: str | None, content_type: str) -> bool:
    """Return whether the body must be inflated to get the file. Raise EgressFailed for an unknown coding."""
    name = (coding or "").strip().lower()
    if name in _IDENTITY or (name in GZIP and content_type in _GZIP_TYPES):
        return False
    if name in GZIP:
        return True
    raise EgressFailed("the server sent a body in a compression that was not asked for and is not understood")


async def inflate(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the content of a gzip body in pieces of at most PIECE_BYTES. Raise EgressFailed if it is invalid or
    incomplete.
    """
    member, begun = zlib.decompressobj(_GZIP_WINDOW), False
    async for chunk in chunks:
        rest = chunk
        while rest:
            if member.eof:  # another member follows, or padding
                rest = rest.lstrip(b"\0")
                if not rest:
                    break
                member = zlib.decompressobj(_GZIP_WINDOW)
            begun = True
            piece = await asyncio.to_thread(_inflate, member, rest)
            rest = member.unused_data if member.eof else member.unconsumed_tail
            if piece:
                yield piece
    if begun and not member.eof:
        raise EgressFailed("the server sent a compressed body that broke off")


def _inflate(member: "zlib._Decompress", data: bytes) -> bytes:
    try:
        return member.decompress(data, PIECE_BYTES)
    except zlib.error:
        raise EgressFailed(_MALFORMED) from None
