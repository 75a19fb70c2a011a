"""Validates the lines of a requirements list: what an installer may be given, and nothing else.

Pure. It refuses lines that would run their author's code outside the sandbox, or fetch from URLs of their own.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

REQUIREMENTS_LIMIT: Final = 1000  # a large frozen environment has 300
LINE_LIMIT_CHARS: Final = 2048  # enough for a URL and a marker
PROVIDED: Final = frozenset({"cog", "coglet"})  # the platform provides its own `cog` module

_COMMENT: Final = re.compile(r"(^|\s)#.*$")
_HASH: Final = re.compile(r"\s--hash[=\s]\S+")
_INDEX_OPTIONS: Final = frozenset({"-i", "--index-url", "--extra-index-url"})
_LINK_OPTIONS: Final = frozenset({"-f", "--find-links"})
_SHOWN_CHARS: Final = 120


class RequirementRefused(Exception):  # noqa: N818 - named after the situation
    """The line cannot be installed here; the message is for the model's author."""


class Requirements(NamedTuple):
    """Sorted and without duplicates, so that equal requirements make the same environment."""

    specifiers: tuple[str, ...] = ()  # PEP 508
    indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def parse_requirements(lines: Iterable[str], allowed_urls: Sequence[str]) -> Requirements:
    """Return the requirements of a file or list. `allowed_urls` are prefixes of the indexes that may be named.

    Raise RequirementRefused.
    """
    specifiers: set[str] = set()
    urls: dict[str, list[str]] = {"index": [], "links": []}
    warnings: set[str] = set()
    for line in _logical_lines(part for given in lines for part in given.splitlines()):
        if "${" in line:
            raise RequirementRefused(f"{_shown(line)} names a variable; installers would put in one of the platform's")
        if line.startswith("-"):
            kind, url = _parse_option(line, allowed_urls)
            urls[kind].append(url)
            continue
        bare = _HASH.sub("", line)
        if bare != line:
            warnings.add("The hashes in the requirements are not checked.")
        requirement = _requirement(bare.strip())
        if requirement is not None:
            specifiers.add(requirement)
    if len(specifiers) > REQUIREMENTS_LIMIT:
        raise RequirementRefused(f"there are more than {REQUIREMENTS_LIMIT} requirements")
    return Requirements(
        tuple(sorted(specifiers)),
        tuple(dict.fromkeys(urls["index"])),
        tuple(dict.fromkeys(urls["links"])),
        tuple(sorted(warnings)),
    )


def _logical_lines(lines: Iterable[str]) -> list[str]:
    """Return the lines without comments, continued lines joined."""
    logical, pending = [], ""
    for physical in lines:
        text = _COMMENT.sub("", pending + physical.strip())
        if text.endswith("\\"):
            pending = text[:-1].rstrip() + " "
            continue
        pending = ""
        logical.append(text.strip())
    logical.append(pending.strip())
    return [line for line in logical if line]


def _parse_option(line: str, allowed_urls: Sequence[str]) -> tuple[str, str]:
    option, _, url = line.replace("=", " ", 1).partition(" ")
    url = url.strip()
    if option not in _INDEX_OPTIONS | _LINK_OPTIONS:
        raise RequirementRefused(f"the option {_shown(option)} is not supported in requirements")
    if not any(url.startswith(place) for place in allowed_urls):
        raise RequirementRefused(f"packages may not be fetched from {_shown(url)}; allowed: {', '.join(allowed_urls)}")
    if not url.isascii() or any(each.isspace() for each in url):
        raise RequirementRefused(f"{_shown(url)} is not a URL")
    return ("index" if option in _INDEX_OPTIONS else "links"), url


def _requirement(text: str) -> str | None:
    if len(text) > LINE_LIMIT_CHARS:
        raise RequirementRefused(f"a requirement is longer than {LINE_LIMIT_CHARS} characters")
    if "://" in text.partition(";")[0]:
        raise RequirementRefused(f"{_shown(text)} is fetched from a URL; only packages of an index can be installed")
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        raise RequirementRefused(f"{_shown(text)} is not a requirement") from None
    if requirement.url is not None:
        raise RequirementRefused(f"{_shown(text)} is fetched from a URL; only packages of an index can be installed")
    requirement.name = canonicalize_name(requirement.name)
    return None if requirement.name in PROVIDED else str(requirement)


def _shown(text: str) -> str:
    return ascii(text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…")
