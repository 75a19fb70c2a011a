"""Finds pages of the documentation by their words. Pure; a few dozen pages need no index but sorted lists."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
WORD: Final = re.compile(r"[^\W_]+")
WORDS_LIMIT: Final = 12  # of a question
PLURAL: Final = re.compile(r"(?<=\w{3})s$")  # of `webhooks` pages say `webhook`, too
LAST: Final = "\U0010ffff"  # sorts behind every word that goes on


class PageMatch(NamedTuple):
    """A page by its name in the library, and its title."""

    name: str
    title: str


class _IndexedPage(NamedTuple):
    """Words, each list sorted, with those that come twice."""

    found: PageMatch
    title: list[str]
    headings: list[str]
    text: list[str]


class PageSearch:
    """`pages` is Markdown by name, `titles` what each is called."""

    def __init__(self, pages: Mapping[str, str], titles: Mapping[str, str]) -> None:
        self._pages = [
            _IndexedPage(
                PageMatch(name, titles[name]), _words([titles[name]]), _words(HEADING.findall(text)), _words([text])
            )
            for name, text in pages.items()
        ]

    def find(self, text: str, limit: int) -> list[PageMatch]:
        """Pages that have every word of the text, each taken for a beginning: whose titles say little else before
        those that have them in headings, then those that say them more often.
        """
        asked = [PLURAL.sub("", word) for word in WORD.findall(text.lower())[:WORDS_LIMIT]]
        if not asked:
            return []
        ranked = []
        for page in self._pages:
            often = [_count(page.text, word) for word in asked]
            if all(often):
                title = _hits(page.title, asked) / max(len(page.title), 1)
                ranked.append((title, _hits(page.headings, asked), sum(often), page.found))
        ranked.sort(key=lambda each: each[:3], reverse=True)
        return [found for *_, found in ranked[:limit]]


def _words(texts: Iterable[str]) -> list[str]:
    return sorted(word for text in texts for word in WORD.findall(text.lower()))


def _hits(words: list[str], asked: list[str]) -> int:
    return sum(_count(words, word) > 0 for word in asked)


def _count(words: list[str], beginning: str) -> int:
    return bisect_left(words, beginning + LAST) - bisect_left(words, beginning)
