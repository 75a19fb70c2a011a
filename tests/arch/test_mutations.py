"""The list of `./just mutate` fits the code: whoever changes a guard changes its mutation too."""

import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "mutation"))
from mutations import read  # noqa: E402 - a folder of scripts

MUTATIONS = read()
AT_LEAST = 60


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)
def test_its_text_stands_once_in_its_file(mutation):
    assert mutation.occurrences(ROOT) == 1
    assert mutation.old != mutation.new


def test_there_are_enough_and_each_breaks_a_promise_of_its_own():
    assert len(MUTATIONS) >= AT_LEAST
    assert [name for name, count in Counter(each.name for each in MUTATIONS).items() if count > 1] == []


def test_the_tests_that_must_catch_them_exist():
    assert {test for each in MUTATIONS for test in each.tests if not (ROOT / test.partition("::")[0]).exists()} == set()
