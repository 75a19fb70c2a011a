"""The patterns that texts of a request have to match, and the words that people get instead of them.

Each has an entry in WORDS, which goes on after "Must be": refusals say it, and so does the reference. Nobody is
answered a regular expression.
"""

from collections.abc import Mapping
from typing import Final

from tidemill.contracts.prediction import Status

# Python's $ also matches before a final newline, hence the lookahead.
NAME: Final = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$(?!\n)"
MODEL: Final = r"^[a-z0-9._-]+/[a-z0-9._-]+$(?!\n)"
OWNER_AND_NAME: Final = r"^[^/\s]{1,64}/[^/\s]{1,64}$(?!\n)"  # for filters: an impossible owner matches nothing
CONSUMER_NAME: Final = r"^[A-Za-z0-9_-]+$(?!\n)"
SINGLE_LINE: Final = r"^[^\x00-\x1f\x7f]+$(?!\n)"  # PostgreSQL takes no NUL
# Links on pages: only http and https, because `javascript:` would run in a visitor's browser.
LINK: Final = r"^https?://[^\x00-\x20\x7f<>\"']+$(?!\n)"
LINK_OR_EMPTY: Final = r"^(https?://\S+)?$(?!\n)"
ID: Final = r"^[0-9a-hjkmnp-tv-z]{26}$(?!\n)"
SHA256: Final = r"^[0-9a-f]{64}$(?!\n)"
_STATUS: Final = f"({'|'.join(Status)})"
STATUS_LIST: Final = rf"^{_STATUS}(,{_STATUS}){{0,5}}$(?!\n)"

DESCRIPTIONS: Final[Mapping[str, str]] = {
    NAME: "lower-case letters, digits, `.`, `_` and `-`, with a letter or a digit at either end, as `tide-tables`",
    MODEL: "an owner and a model of lower-case letters, digits, `.`, `_` and `-`, as `alice/tide-tables`",
    OWNER_AND_NAME: "an owner and a name, as `alice/tide-tables`",
    CONSUMER_NAME: "letters, digits, `_` and `-`, as `nightly_export`",
    SINGLE_LINE: "one line of text without control characters, as `Ada Lovelace`",
    LINK: "an http or https URL without spaces, quotes and angle brackets, as `https://example.com/ada`",
    LINK_OR_EMPTY: "an empty text, or an http or https URL without spaces, as `https://example.com/tides`",
    ID: "an id: 26 digits and lower-case letters, without i, l, o and u",
    SHA256: "64 hexadecimal digits in lower case",
    STATUS_LIST: f"one of {', '.join(Status)}, or several with commas between them, as `failed,canceled`",
}
