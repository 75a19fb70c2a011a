"""Full-text search in the pages of the documentation. Pure; for a few dozen pages sorted lists are index enough."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
WORD: Final = re.compile(r"[^\W_]+")
WORDS_LIMIT: Final = 12  # of a search
PLURAL: Final = re.compile(r"(?<=\w{3})s$")  # a search for `webhooks` also finds `webhook`
LAST: Final = "\U0010ffff"  # sorts after every word with the prefix


class PageMatch(NamedTuple):
    """A page by its name, and its title."""

    name: str
    title: str


class _IndexedPage(NamedTuple):
    """The words of a page: sorted lists with duplicates."""

    match: PageMatch
    title: list[str]
    headings: list[str]
    text: list[str]


class PageSearch:
    """`pages`: Markdown by name. `titles`: titles by name."""

    def __init__(self, pages: Mapping[str, str], titles: Mapping[str, str]) -> None:
        self._pages = [
            _IndexedPage(
                PageMatch(name, titles[name]), _words([titles[name]]), _words(HEADING.findall(text)), _words([text])
            )
            for name, text in pages.items()
        ]

    def find(self, text: str, limit: int) -> list[PageMatch]:
        """Return the pages that contain every word of the text as a prefix.

        Ranked by the share of the title that matches, then by matches in headings, then by the number of occurrences.
        """
        terms = [PLURAL.sub("", word) for word in WORD.findall(text.lower())[:WORDS_LIMIT]]
        if not terms:
            return []
        ranked = []
        for page in self._pages:
            counts = [_count(page.text, word) for word in terms]
            if all(counts):
                title = _hits(page.title, terms) / max(len(page.title), 1)
                ranked.append((title, _hits(page.headings, terms), sum(counts), page.match))
        ranked.sort(key=lambda each: each[:3], reverse=True)
        return [match for *_, match in ranked[:limit]]


def _words(texts: Iterable[str]) -> list[str]:
    return sorted(word for text in texts for word in WORD.findall(text.lower()))


def _hits(words: list[str], terms: list[str]) -> int:
    return sum(_count(words, word) > 0 for word in terms)


def _count(words: list[str], prefix: str) -> int:
    return bisect_left(words, prefix + LAST) - bisect_left(words, prefix)
