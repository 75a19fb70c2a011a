"""Conditional requests (RFC 9110, section 13): whether an object is to be sent, and whether in part. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal, NamedTuple

_TAG: Final = re.compile(r'(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e\x80-\xff]*)"')
_FIELDS: Final = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range")


class Validators(NamedTuple):
    """What tells one state of an object from another, as the fields ETag and Last-Modified say it."""

    etag: str | None
    last_modified: str | None


def is_conditional(asked: Mapping[str, str]) -> bool:
    return any(field in asked for field in _FIELDS)


def verdict(asked: Mapping[str, str], now: Validators) -> Literal[304, 412] | None:
    """For a GET or HEAD with these request fields: 304, 412, or None for "send it"."""
    if "If-Match" in asked:
        if not _names(asked["If-Match"], now, weakly=False):
            return 412
    elif _changed_since(asked.get("If-Unmodified-Since"), now, unknown=False):
        return 412
    if "If-None-Match" in asked:
        return 304 if _names(asked["If-None-Match"], now, weakly=True) else None
    return None if _changed_since(asked.get("If-Modified-Since"), now, unknown=True) else 304


def range_applies(asked: Mapping[str, str], now: Validators) -> bool:
    """Whether If-Range lets a range be sent: the client has the rest of this very state."""
    value = asked.get("If-Range")
    if value is None:
        return True
    tag = _TAG.fullmatch(value.strip())
    if tag is not None:
        return not tag["weak"] and value.strip() == now.etag
    # A date counts to the second and to the letter: one in between says nothing of the bytes.
    return _moment(value) is not None and _moment(value) == _moment(now.last_modified)


def _names(value: str, now: Validators, *, weakly: bool) -> bool:
    if value.strip() == "*":
        return True
    present = _TAG.fullmatch(now.etag or "")
    if present is None or (present["weak"] and not weakly):
        return False
    tags = (tag for tag in _TAG.finditer(value) if weakly or not tag["weak"])
    return any(tag["opaque"] == present["opaque"] for tag in tags)


def _changed_since(value: str | None, now: Validators, *, unknown: bool) -> bool:
    """`unknown` is the answer where no date is given, or none that can be read: then the field is ignored."""
    then, modified = _moment(value), _moment(now.last_modified)
    return unknown if then is None or modified is None else modified > then


def _moment(value: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value) if value else None
    except ValueError:
        return None
    # Without a zone it is no HTTP date, and cannot be compared with one.
    return moment if moment is not None and moment.tzinfo is not None else None
