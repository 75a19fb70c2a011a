"""The Prefer and Cancel-After headers. Pure."""

import re
from typing import Final

from tidemill.contracts.errors import unprocessable
from tidemill.contracts.limits import CANCEL_AFTER_LIMIT_S, CANCEL_AFTER_MINIMUM_S, WAIT_LIMIT_S, WAIT_MARGIN_S

WAIT: Final = re.compile(r"(?:^|[,;\s])wait(?:\s*=\s*\"?(\d+(?:\.\d+)?)\"?)?(?:$|[,;\s])", re.IGNORECASE)
DURATION: Final = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")


def wait_s(prefer: str | None) -> float | None:
    """Return the seconds that the client wants to wait, at most 60; None for not at all.

    The response is sent WAIT_MARGIN_S before the minute: clients time out at exactly 60 s.
    """
    match = WAIT.search(prefer) if prefer else None
    if match is None:
        return None
    asked = float(match[1]) if match[1] else WAIT_LIMIT_S
    return max(0.0, min(asked, WAIT_LIMIT_S - WAIT_MARGIN_S))


def cancel_after_s(header: str | None) -> float | None:
    """Return the seconds of `30`, `30s`, `5m` or `1h30m45s`. Raise the 422 problem for other text."""
    if header is None:
        return None
    text = header.strip().lower()
    match = DURATION.fullmatch(text)
    if text.isdecimal() and len(text) <= 6:
        seconds = int(text)
    elif match is not None and text:
        hours, minutes, rest = (int(part or 0) for part in match.groups())
        seconds = hours * 3600 + minutes * 60 + rest
    else:
        raise unprocessable(f"Cancel-After is a duration such as 30s, 5m or 1h30m45s, not {header[:40]!r}.")
    if not CANCEL_AFTER_MINIMUM_S <= seconds <= CANCEL_AFTER_LIMIT_S:
        raise unprocessable(f"Cancel-After must be between {CANCEL_AFTER_MINIMUM_S} s and {CANCEL_AFTER_LIMIT_S} s.")
    return float(seconds)
