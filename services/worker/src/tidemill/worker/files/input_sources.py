"""Decides from an input's URL alone where the file comes from. Pure."""

import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from tidemill.contracts.ids import is_id
from tidemill.security.data_uri_syntax import PREFIX
from tidemill.security.delivery_urls import PATH
from tidemill.security.public_urls import PublicUrls


class DataUri(NamedTuple):
    uri: str


class UploadedFile(NamedTuple):
    """A file of the files API. Only the account that uploaded it may use it."""

    file_id: str


class DeliveredOutput(NamedTuple):
    """An output file of an earlier prediction, under a delivery URL of ours."""

    url: str


class ExternalUrl(NamedTuple):
    """A URL of another server. The egress client decides whether it may be fetched."""

    url: str


Source = DataUri | UploadedFile | DeliveredOutput | ExternalUrl

# Clients use base URLs with and without /v1, and some add another one.
_FILE: Final = re.compile(r"(?:/v1){0,2}/files/(?P<id>[^/]+)(?:/download)?")
_SHOWN_CHARS: Final = 80


class UnsupportedUrl(Exception):  # noqa: N818 - named after the situation
    """The text is not a URL that a file can be fetched from."""


def source_of(text: str, public_urls: PublicUrls) -> Source:
    """Return the source of the file. Raise UnsupportedUrl, above all for what could be a local path."""
    if text[: len(PREFIX)].lower() == PREFIX:
        return DataUri(text)
    try:
        url = urlsplit(text)
    except ValueError:
        raise UnsupportedUrl(_refusal(text)) from None
    if url.scheme not in {"http", "https"}:
        raise UnsupportedUrl(_refusal(text))
    path = public_urls.path_of(url)
    if path is None:
        return ExternalUrl(text)
    if path.startswith(PATH):
        return DeliveredOutput(text)
    match = _FILE.fullmatch(path)
    return UploadedFile(match["id"]) if match is not None and is_id(match["id"]) else ExternalUrl(text)


def _refusal(text: str) -> str:
    shown = ascii(text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…")
    return f"{shown} is not an http(s) URL or a data: URI"
