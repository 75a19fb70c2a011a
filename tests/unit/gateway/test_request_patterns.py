"""Patterns in requests: an error has a description, not a regular expression."""

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Annotated, Any

import msgspec
import pytest

from tidemill.contracts import patterns
from tidemill.contracts.errors import Problem
from tidemill.gateway.call import Call, decode
from tidemill.gateway.listing import queries
from tidemill.gateway.triggers import ROUTES

EXAMPLE = re.compile(r", as `([^`]+)`$")


def asked() -> list[Any]:
    """Every struct that a body or a query is decoded into."""
    declared = [each for route in ROUTES for each in (route.operation.body, route.operation.query)]
    kinds = [kind for each in declared for kind in (each if isinstance(each, tuple) else (each,))]
    return [kind for kind in kinds if kind is not None and not isinstance(kind, str)]


def patterns_in(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("pattern"), str):
            yield node["pattern"]
        for value in node.values():
            yield from patterns_in(value)
    elif isinstance(node, list):
        for item in node:
            yield from patterns_in(item)


def test_every_pattern_has_words_and_all_words_are_said():
    assert set(patterns_in(list(msgspec.json.schema_components(asked())))) == set(patterns.DESCRIPTIONS)


def test_the_examples_in_the_words_match():
    examples = {
        pattern: found[1] for pattern, words in patterns.DESCRIPTIONS.items() if (found := EXAMPLE.search(words))
    }
    assert len(examples) >= len(patterns.DESCRIPTIONS) - 2, "ids and digests alone need none"
    assert not [example for pattern, example in examples.items() if not re.search(pattern, example)]


def refused_as_body(kind: type[Any]) -> Problem:
    with pytest.raises(Problem) as caught:
        decode(b'{"text": "\\u0000"}', kind)
    return caught.value


def refused_as_query(kind: type[Any]) -> Problem:
    request: Any = SimpleNamespace(query={"text": "\0"})
    with pytest.raises(Problem) as caught:
        Call(request, None, None, None).parse_query(kind)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("pattern", patterns.DESCRIPTIONS)
@pytest.mark.parametrize(("refused", "status"), [(refused_as_body, 422), (refused_as_query, 400)])
def test_a_text_that_does_not_match_is_refused_in_words(pattern, refused, status):
    kind = msgspec.defstruct("Asked", [("text", Annotated[str, msgspec.Meta(pattern=pattern)])])
    problem = refused(kind)
    assert problem.status == status
    assert f"text: Must be {patterns.DESCRIPTIONS[pattern]}" in problem.detail


@pytest.mark.parametrize("pattern", patterns.DESCRIPTIONS)
def test_a_line_break_at_the_end_matches_nothing(pattern):
    found = EXAMPLE.search(patterns.DESCRIPTIONS[pattern])
    text = found[1] if found else "0" * (26 if pattern == patterns.ID else 64)
    assert re.search(pattern, text)
    assert not re.search(pattern, f"{text}\n")


def test_a_filter_is_refused_in_words():
    request: Any = SimpleNamespace(query={"status": "done"})
    with pytest.raises(Problem) as caught:
        Call(request, None, None, None).parse_query(queries.PredictionsQuery)  # type: ignore[arg-type]
    assert "one of starting, processing, succeeded" in caught.value.detail
    assert "status: Must be" in caught.value.detail
    assert "as `failed,canceled`" in caught.value.detail
