"""data: URIs (RFC 2397), read strictly enough that what comes out is what was meant. Pure."""

import base64
import binascii
import re
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

PREFIX: Final = "data:"
DEFAULT_TYPE: Final = "text/plain"

_SPACE: Final = re.compile(rb"[\t\n\r ]+")
_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}")


class DataUriRefused(Exception):  # noqa: N818 - named after the situation
    """The text is no data: URI."""


class Data(NamedTuple):
    content_type: str  # without parameters, in lower case
    content: bytes


def decode(uri: str) -> Data:
    """Raises DataUriRefused. At most as many bytes come out as the text has characters."""
    head, comma, body = uri.removeprefix(PREFIX).partition(",")
    if not comma:
        raise DataUriRefused("the data: URI has no comma")
    kind, *parameters = (part.strip().lower() for part in head.split(";"))
    if kind and _TYPE.fullmatch(kind) is None:
        raise DataUriRefused("the media type of the data: URI is malformed")
    try:
        content = unquote_to_bytes(body)
    except UnicodeEncodeError:
        raise DataUriRefused("the data: URI is not valid Unicode") from None
    return Data(kind or DEFAULT_TYPE, _from_base64(content) if "base64" in parameters else content)


def _from_base64(text: bytes) -> bytes:
    compact = _SPACE.sub(b"", text).rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(compact + b"=" * (-len(compact) % 4), validate=True)
    except binascii.Error:
        raise DataUriRefused("the base64 of the data: URI is malformed") from None
