"""Decodes data: URIs (RFC 2397) strictly: malformed ones are refused, not guessed. Pure."""

import base64
import binascii
from typing import NamedTuple

from tidemill.security.data_uri_syntax import SPACE, InvalidDataUri, parse_data_uri, unquote_body


class DecodedUri(NamedTuple):
    content_type: str  # lower case, without parameters
    content: bytes


def decode(uri: str) -> DecodedUri:
    """Decode the URI. Raise InvalidDataUri. The result has at most as many bytes as the text has characters."""
    form = parse_data_uri(uri)
    content = unquote_body(form.body)
    return DecodedUri(form.content_type, _from_base64(content) if form.is_base64 else content)


def _from_base64(text: bytes) -> bytes:
    compact = text.translate(None, SPACE).rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(compact + b"=" * (-len(compact) % 4), validate=True)
    except binascii.Error:
        raise InvalidDataUri("the base64 of the data: URI is malformed") from None
