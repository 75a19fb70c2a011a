"""Reads the few headers of an untrusted response that we use. Pure; a malformed header counts as absent.

The results contain no control characters and no path separators: they end up in rows, headers and logs.
"""

import math
import re
import unicodedata
from email.message import Message
from email.utils import collapse_rfc2231_value, parsedate_to_datetime

MAX_FILENAME_BYTES = 255  # NAME_MAX, and the limit of the files API
MAX_CONTENT_TYPE_CHARS = 127  # twice RFC 6838's limit for one name is enough for a type and a subtype
DEFAULT_FILENAME = "download"
DEFAULT_CONTENT_TYPE = "application/octet-stream"

_CONTENT_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*")


def content_type(value: str | None) -> str:
    """Return `type/subtype` in lower case, without parameters."""
    essence = (value or "").partition(";")[0].strip().lower()
    if len(essence) > MAX_CONTENT_TYPE_CHARS or _CONTENT_TYPE.fullmatch(essence) is None:
        return DEFAULT_CONTENT_TYPE
    return essence


def filename(content_disposition: str | None, url_name: str) -> str:
    """Return the file name from the header, else the last part of the URL's path."""
    return _safe(_disposition_filename(content_disposition)) or _safe(url_name) or DEFAULT_FILENAME


def retry_after_s(value: str | None, now: float) -> float | None:
    """Return the seconds to wait from `now` (unix seconds), for both forms of `Retry-After`; never negative."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        # Sixteen digits are practically forever, and more could overflow.
        return float(text[:16])
    try:
        seconds = parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _disposition_filename(value: str | None) -> str:
    if value is None:
        return ""
    header = Message()
    try:
        header["Content-Disposition"] = value
        name = header.get_param("filename", "", "Content-Disposition")
        return collapse_rfc2231_value(name)
    except (ValueError, LookupError, TypeError):
        return ""


def _safe(name: str) -> str:
    last = re.split(r"[/\\]", name)[-1]
    clean = "".join(each for each in last if unicodedata.category(each) not in {"Cc", "Cf", "Cs", "Zl", "Zp"})
    return _shortened(clean.strip(" .\t"))


def _shortened(name: str) -> str:
    excess_bytes = len(name.encode()) - MAX_FILENAME_BYTES
    if excess_bytes <= 0:
        return name
    stem, dot, suffix = name.rpartition(".")
    # Programs use the suffix, so the stem is cut, unless the suffix is too long.
    if len(suffix.encode()) >= MAX_FILENAME_BYTES - 1 or not stem:
        return name.encode()[:MAX_FILENAME_BYTES].decode(errors="ignore")
    return stem.encode()[:-excess_bytes].decode(errors="ignore") + dot + suffix
