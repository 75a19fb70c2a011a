"""Blocks of the documentation say what they are, and none is skipped but those that are counted here.

That they run is for tests/e2e/test_documentation.py.
"""

import ast
import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tidemill.testing.documents import blocks_of

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks_of(page.relative_to(ROOT).as_posix(), page.read_text())]
# By page. Each of them says why beside its language; a reader must be able to run all others as they stand.
NOT_RUN = {
    "README.md": 1,
    "docs/batching.md": 2,
    "docs/boots.md": 1,
    "docs/events.md": 2,
    "docs/files.md": 1,
    "docs/trainings.md": 1,
    "docs/tutorial.md": 1,
    "docs/webhooks.md": 1,
}
RUN_AT_LEAST = 80
SHOWN = {"mermaid", "text"}  # nothing here reads them


def test_no_block_is_skipped_that_is_not_counted_here():
    assert Counter(block.page for block in BLOCKS if block.about == "not run") == NOT_RUN
    assert sum(block.runs for block in BLOCKS) >= RUN_AT_LEAST


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if not block.runs and block.language not in SHOWN], ids=str
)
def test_what_is_not_run_can_be_read_at_least(block):
    if block.language == "json":
        json.loads(block.code)
    elif block.language == "yaml":
        assert yaml.safe_load(block.code)
    elif block.language.startswith("python"):
        compile(block.code, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    else:
        subprocess.run(["bash", "-n"], input=block.code, text=True, check=True, timeout=60)


def test_the_tutorial_is_what_a_newcomer_is_shown_first():
    assert "docs/tutorial.md" in (ROOT / "README.md").read_text().partition("```")[0]


def test_no_page_names_a_port_of_this_machine_or_a_program_that_few_have():
    """Addresses come from the environment: the port may be another one, and readers have no jq or xxd."""
    wrong = [
        str(block) for block in BLOCKS if block.runs and any(word in block.code for word in (":8300", "| jq", "| xxd"))
    ]
    assert not wrong
