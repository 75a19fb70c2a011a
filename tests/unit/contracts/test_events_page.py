"""The page about events holds the program that the tests run, and links to nothing that is not served with it."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "events.md").read_text()


def test_the_program_on_the_page_is_the_one_that_is_tested():
    blocks = re.findall(r"```python[^\n]*\n(.*?)```", PAGE, re.DOTALL)
    assert (DOCS / "examples" / "subscribe.py").read_text() in blocks


def test_links_lead_to_pages():
    links = [link for link in re.findall(r"\]\(([^)#]+)", PAGE) if "://" not in link]
    assert all((DOCS / link).suffix == ".md" and (DOCS / link).exists() for link in links)
