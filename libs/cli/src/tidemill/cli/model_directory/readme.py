"""Finds a model's title, description and license link in its README. Pure; it reads Markdown line by line."""

import re
from typing import Final

from tidemill.contracts.limits import DESCRIPTION_LIMIT_CHARS

_TITLE: Final = re.compile(r"^# +(.+?) *#*$", re.MULTILINE)
_LICENCE: Final = re.compile(r"^#+ +licen[cs]e\b.*$", re.MULTILINE | re.IGNORECASE)
_HEADING: Final = re.compile(r"^#+ ", re.MULTILINE)
_LINK: Final = re.compile(r"(?<!!)\[[^\]]*\]\((https?://[^\s)]+)[^)]*\)")
_INLINE_LINK: Final = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
# The beginnings of blocks that are not prose: heading, list, quotation, table, code, image, HTML.
_NO_PROSE: Final = re.compile(r"^(#|[-*+] |\d+[.)] |>|\||```|~~~|!\[|\[!\[|<| {4}|\t)")


def find_title(markdown: str) -> str | None:
    """Return the first heading of level 1, or None."""
    found = _TITLE.search(markdown)
    return found[1] if found else None


def find_first_paragraph(markdown: str) -> str | None:
    """Return the first paragraph of prose in one line, links as their text, cut to a description's limit; or None."""
    for block in re.split(r"\n\s*\n", markdown):
        if block.strip() and not _NO_PROSE.match(block.lstrip("\n")):
            return " ".join(_INLINE_LINK.sub(r"\1", block).split())[:DESCRIPTION_LIMIT_CHARS]
    return None


def find_license_link(markdown: str) -> str | None:
    """Return the first link below a heading about the license, or None."""
    heading = _LICENCE.search(markdown)
    if heading is None:
        return None
    rest = markdown[heading.end() :]
    following = _HEADING.search(rest)
    link = _LINK.search(rest[: following.start()] if following else rest)
    return link[1] if link else None
