"""What a README tells of its model: a title, a description, where the licence is. Pure; Markdown read by the line."""

import re
from typing import Final

from tidemill.contracts.limits import DESCRIPTION_LIMIT_CHARS

_TITLE: Final = re.compile(r"^# +(.+?) *#*$", re.MULTILINE)
_LICENCE: Final = re.compile(r"^#+ +licen[cs]e\b.*$", re.MULTILINE | re.IGNORECASE)
_HEADING: Final = re.compile(r"^#+ ", re.MULTILINE)
_LINK: Final = re.compile(r"(?<!!)\[[^\]]*\]\((https?://[^\s)]+)[^)]*\)")
_INLINE_LINK: Final = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
# What begins a block that is no paragraph: a heading, a list, a quotation, a table, code, an image, HTML.
_NO_PROSE: Final = re.compile(r"^(#|[-*+] |\d+[.)] |>|\||```|~~~|!\[|\[!\[|<| {4}|\t)")


def title(markdown: str) -> str | None:
    """The first heading of the first level."""
    found = _TITLE.search(markdown)
    return found[1] if found else None


def first_paragraph(markdown: str) -> str | None:
    """The first prose in one line, links as their text; cut to what a description may hold."""
    for block in re.split(r"\n\s*\n", markdown):
        if block.strip() and not _NO_PROSE.match(block.lstrip("\n")):
            return " ".join(_INLINE_LINK.sub(r"\1", block).split())[:DESCRIPTION_LIMIT_CHARS]
    return None


def licence_link(markdown: str) -> str | None:
    """The first link under a heading that speaks of the licence."""
    heading = _LICENCE.search(markdown)
    if heading is None:
        return None
    rest = markdown[heading.end() :]
    following = _HEADING.search(rest)
    link = _LINK.search(rest[: following.start()] if following else rest)
    return link[1] if link else None
