"""Takes secrets out of text that is about to be logged or shown.

Finds what has a known shape: API tokens, webhook secrets and the values of Authorization headers. It is the last net
under code that does not log secrets in the first place, never a reason to log one.
"""

import re

# Nothing of a secret is kept, not even its prefix: tests and operators search logs for `r8_` and `whsec_`.
TOKEN_MARK = "[token]"  # noqa: S105 -- what is written in place of one
WEBHOOK_SECRET_MARK = "[webhook-secret]"  # noqa: S105 -- as above
AUTHORIZATION_MARK = "[authorization]"

# A whole token is found anywhere, even right after a letter (`%3Dr8_...`); a shortened one only where a word begins,
# so that `layer8_attention` stays readable.
_TOKEN = re.compile(r"r8_[A-Za-z0-9]{37}|(?<![A-Za-z0-9])r8_[A-Za-z0-9]{6,}")
_WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=_%-]+")

# `Authorization: Bearer x`, `"authorization": "x y"`, `('Authorization', b'x')`, also with escaped quotes. A quoted
# value goes up to its quote, a bare one to the end of its line, or after one word where the scheme is known.
_NAME = r"""(?P<name>authorization(?:\\*["'][ \t]*[:=,]|[ \t]*[:=])[ \t]*)"""
_QUOTED_VALUE = r"""b?\\*(?P<quote>["'])(?:(?!(?P=quote))[^\n])*"""
_BARE_VALUE = r"""(?:(?:bearer|token|basic)[ \t]+[^\s"',;]+|[^\s"'][^"'\n]*)"""
_AUTHORIZATION = re.compile(f"{_NAME}(?:{_QUOTED_VALUE}|{_BARE_VALUE})", re.IGNORECASE)


def redact_secrets(text: str) -> str:
    """`text` with a mark in place of each secret; the same object when it holds none."""
    if "r8_" in text:
        text = _TOKEN.sub(TOKEN_MARK, text)
    if "whsec_" in text:
        text = _WEBHOOK_SECRET.sub(WEBHOOK_SECRET_MARK, text)
    if "authorization" in text.lower():
        text = _AUTHORIZATION.sub(_hide_value, text)
    return text


def _hide_value(match: re.Match[str]) -> str:
    quote: str = match["quote"] or ""
    return f"{match['name']}{quote}{AUTHORIZATION_MARK}"
