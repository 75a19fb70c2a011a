"""docs/errors.md is held against the codes that predictions carry."""

import re
from pathlib import Path

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.prediction import TERMINAL

DOCS = Path(__file__).parents[3] / "docs" / "errors.md"
_, *ROWS = re.findall(r"^\| `(\w+)` \| (.+?) \|(.*)\|$", DOCS.read_text(), re.MULTILINE)


def test_every_code_is_explained_once_and_no_other():
    assert [code for code, _, _ in ROWS] == [code.value for code in ErrorCode]


def test_each_says_which_statuses_it_comes_with_and_what_to_do():
    for code, statuses, rest in ROWS:
        assert set(re.findall(r"`(\w+)`", statuses)) <= {status.value for status in TERMINAL}, code
        assert all(cell.strip() for cell in rest.split("|")), code
        assert len(rest.split("|")) == 3, code
