"""Removes secrets from text that is about to be logged or shown.

It finds secrets of a known format: API tokens, webhook secrets and the values of Authorization headers. It is a last
line of defense for code that does not log secrets, never a reason to log one.
"""

import re

# No part of a secret is kept, not even its prefix: tests and operators search logs for `r8_` and `whsec_`.
TOKEN_MARK = "[token]"  # noqa: S105 -- what is written in place of one
WEBHOOK_SECRET_MARK = "[webhook-secret]"  # noqa: S105 -- as above
AUTHORIZATION_MARK = "[authorization]"

# A complete token is found anywhere, even after a letter (`%3Dr8_...`); a shortened one only at the start of a word, so
# that `layer8_attention` is kept.
_TOKEN = re.compile(r"r8_[A-Za-z0-9]{37}|(?<![A-Za-z0-9])r8_[A-Za-z0-9]{6,}")
_WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=_%-]+")

# `Authorization: Bearer x`, `"authorization": "x y"`, `('Authorization', b'x')`, also with escaped quotes. A quoted
# value ends at its quote, a bare one at the end of the line, or after one word if the scheme is known.
_NAME = r"""(?P<name>authorization(?:\\*["'][ \t]*[:=,]|[ \t]*[:=])[ \t]*)"""
_QUOTED_VALUE = r"""b?\\*(?P<quote>["'])(?:(?!(?P=quote))[^\n])*"""
_BARE_VALUE = r"""(?:(?:bearer|token|basic)[ \t]+[^\s"',;]+|[^\s"'][^"'\n]*)"""
_AUTHORIZATION = re.compile(f"{_NAME}(?:{_QUOTED_VALUE}|{_BARE_VALUE})", re.IGNORECASE)


def redact_secrets(text: str) -> str:
    """Return `text` with a mark in place of each secret, or the same object if it has none."""
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
