"""Conditional requests (RFC 9110, section 13): whether to send an object, and whether to send a range of it. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal, NamedTuple

_TAG: Final = re.compile(r'(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e\x80-\xff]*)"')
_FIELDS: Final = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range")


class Validators(NamedTuple):
    """The validators of an object's state: the values of the headers ETag and Last-Modified."""

    etag: str | None
    last_modified: str | None


def is_conditional(headers: Mapping[str, str]) -> bool:
    return any(field in headers for field in _FIELDS)


def verdict(headers: Mapping[str, str], now: Validators) -> Literal[304, 412] | None:
    """Evaluate the headers of a GET or HEAD: 304, 412, or None for "send it"."""
    if "If-Match" in headers:
        if not _matches(headers["If-Match"], now, weakly=False):
            return 412
    elif _changed_since(headers.get("If-Unmodified-Since"), now, unknown=False):
        return 412
    if "If-None-Match" in headers:
        return 304 if _matches(headers["If-None-Match"], now, weakly=True) else None
    return None if _changed_since(headers.get("If-Modified-Since"), now, unknown=True) else 304


def range_applies(headers: Mapping[str, str], now: Validators) -> bool:
    """Whether If-Range allows a range: the rest that the client has is of the same state."""
    value = headers.get("If-Range")
    if value is None:
        return True
    tag = _TAG.fullmatch(value.strip())
    if tag is not None:
        return not tag["weak"] and value.strip() == now.etag
    # RFC 9110 asks for an exact match: with another date the bytes may differ.
    return _moment(value) is not None and _moment(value) == _moment(now.last_modified)


def _matches(value: str, now: Validators, *, weakly: bool) -> bool:
    if value.strip() == "*":
        return True
    current = _TAG.fullmatch(now.etag or "")
    if current is None or (current["weak"] and not weakly):
        return False
    tags = (tag for tag in _TAG.finditer(value) if weakly or not tag["weak"])
    return any(tag["opaque"] == current["opaque"] for tag in tags)


def _changed_since(value: str | None, now: Validators, *, unknown: bool) -> bool:
    """`unknown` is returned if there is no valid date: the header is then ignored."""
    then, modified = _moment(value), _moment(now.last_modified)
    return unknown if then is None or modified is None else modified > then


def _moment(value: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value) if value else None
    except ValueError:
        return None
    # A date without a zone is not an HTTP date, and cannot be compared with one.
    return moment if moment is not None and moment.tzinfo is not None else None
