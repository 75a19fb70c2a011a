"""The numbers of the migration files: each is used once and none is left out, also when two branches add one each."""

import re
from importlib.resources import files

import pytest

NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
NEVER_RELEASED = {15, 18}  # no file ever had these numbers; none takes them later, as databases are past them


def faults(names):
    """What is wrong with the names of migration files."""
    found = [f"{name}: not NNNN_words.sql" for name in names if not NAME.fullmatch(name)]
    numbers = sorted(int(match[1]) for name in names if (match := NAME.fullmatch(name)))
    found += [f"{number:04d} twice" for number in sorted(set(numbers)) if numbers.count(number) > 1]
    expected = set(range(1, max(numbers, default=0) + 1)) - NEVER_RELEASED
    found += [f"{number:04d} is missing" for number in sorted(expected - set(numbers))]
    return found + [f"{number:04d} was never released" for number in sorted(set(numbers) & NEVER_RELEASED)]


def test_each_number_is_used_once_and_none_is_left_out():
    names = [path.name for path in files("tidemill.runtime.migrations").iterdir() if path.name.endswith(".sql")]
    assert len(names) > 20
    assert faults(names) == []


FIRST = [f"{number:04d}_step.sql" for number in range(1, 20) if number not in NEVER_RELEASED]


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ([*FIRST, "0021_next.sql"], ["0020 is missing"]),
        ([*FIRST, "0019_other.sql"], ["0019 twice"]),
        ([*FIRST, "0018_late.sql"], ["0018 was never released"]),
        ([*FIRST, "20_next.sql"], ["20_next.sql: not NNNN_words.sql"]),
    ],
)
def test_a_gap_a_double_and_a_wrong_name_are_found(names, fault):
    assert faults(FIRST) == []
    assert faults(names) == fault
