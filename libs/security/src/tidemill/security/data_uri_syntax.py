"""The syntax of data: URIs (RFC 2397), checked without decoding: the gateway checks each one in a request. Pure."""

import re
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

PREFIX: Final = "data:"
DEFAULT_TYPE: Final = "text/plain"
SPACE: Final = b"\t\n\r "
_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}")
_DIGITS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"  # both alphabets


class InvalidDataUri(Exception):  # noqa: N818 - named after the situation
    """The text is not a valid data: URI."""


class DataUri(NamedTuple):
    content_type: str  # without parameters, in lower case
    is_base64: bool
    body: str


def parse_data_uri(uri: str) -> DataUri:
    """Parse the head. Raise InvalidDataUri. The body is not checked and may be invalid base64."""
    kind, is_base64, comma = _head(uri)
    return DataUri(kind, is_base64, uri[comma + 1 :])


def unquote_body(body: str) -> bytes:
    try:
        return unquote_to_bytes(body)
    except UnicodeEncodeError:
        raise InvalidDataUri("the data: URI is not valid Unicode") from None


def check_data_uri(uri: str) -> None:
    """Raise InvalidDataUri for a text that decoding would refuse.

    It decodes nothing and copies little: the largest URI that a request may contain takes some milliseconds.
    """
    _, is_base64, comma = _head(uri)
    if uri.isascii() and "%" not in uri:
        whole, begin = uri.encode(), comma + 1
    else:
        whole, begin = b"," + unquote_body(uri[comma + 1 :]), 1
    if is_base64 and not _is_base64(whole, begin):
        raise InvalidDataUri("the base64 of the data: URI is malformed")


def _head(uri: str) -> tuple[str, bool, int]:
    """Return the media type, whether the body is base64, and the index of the comma before it."""
    comma = uri.find(",")
    if comma < 0:
        raise InvalidDataUri("the data: URI has no comma")
    kind, *parameters = (part.strip().lower() for part in uri[len(PREFIX) : comma].split(";"))
    if kind and _TYPE.fullmatch(kind) is None:
        raise InvalidDataUri("the media type of the data: URI is malformed")
    return kind or DEFAULT_TYPE, "base64" in parameters, comma


def _is_base64(text: bytes, begin: int) -> bool:
    """Return whether the text after its first comma, at `begin - 1`, is base64: digits, spaces anywhere,
    padding last.
    """
    others = text.translate(None, _DIGITS).partition(b",")[2]
    padding = others.translate(None, SPACE)
    end = text[len(text) - len(others) :]
    tail = end[len(end.rstrip(b"=" + SPACE)) :]
    return not padding.strip(b"=") and tail.count(b"=") == len(padding) and (len(text) - begin - len(others)) % 4 != 1
