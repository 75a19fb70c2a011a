"""Bodies that a server compressed though it was asked not to: object stores send what they were given compressed so.

It is inflated in a thread, piece by piece, so that whoever reads can stop at a limit: a small body may be a large bomb.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from tidemill.security.egress.errors import EgressFailed

PIECE_BYTES: Final = 1024 * 1024  # inflated at a time: a millisecond or so
GZIP: Final = frozenset({"gzip", "x-gzip"})
_IDENTITY: Final = frozenset({"", "identity"})
# Of a file that is compressed itself; servers that go by its suffix give the coding as well, and mean the file.
_GZIP_TYPES: Final = frozenset({"application/gzip", "application/x-gzip", "application/x-tgz", "application/x-gtar"})
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_MALFORMED: Final = "the server sent a compressed body that is malformed"


def is_compressed(coding: str | None, content_type: str) -> bool:
    """Whether the body is to be inflated to be the file. Raises EgressFailed for a coding that is not understood."""
    name = (coding or "").strip().lower()
    if name in _IDENTITY or (name in GZIP and content_type in _GZIP_TYPES):
        return False
    if name in GZIP:
        return True
    raise EgressFailed("the server sent a body in a compression that was not asked for and is not understood")


async def inflate(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """What a gzip body holds, in pieces of at most PIECE_BYTES. Raises EgressFailed where it is none or broke off."""
    member, begun = zlib.decompressobj(_GZIP_WINDOW), False
    async for chunk in chunks:
        rest = chunk
        while rest:
            if member.eof:  # another one follows, or what fills a block
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
