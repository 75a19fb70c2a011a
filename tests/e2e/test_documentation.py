"""Every block of README.md and of the pages in docs runs, in the order of its page, against a real stack.

A page is a shell in a folder that looks like the checkout, with the running stack as its `.tidemill`.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tidemill.testing import documents
from tidemill.testing.ports import OwnPort

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
CATALOGUE = CHECKOUT / "deploy" / "catalogue"
SHOWN = ("noop", "writer")  # what pages run; the others take longer to push than all pages together
PAGE_WITHIN_S = 900
# What a shell on a reader's machine has; the rest comes from `.tidemill/env`, which the pages name.
KEPT = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS")


def blocks(page):
    return documents.blocks_of(page.relative_to(CHECKOUT).as_posix(), page.read_text())


@pytest.fixture(scope="module")
def catalogue(stack, new_token):
    """The models of the catalogue that pages name, as `up` pushes them."""
    pytest.importorskip("torch")
    token = new_token("tidemill")
    for name in SHOWN:
        stack.tidemill("push", f"tidemill/{name}", str(CATALOGUE / name), "--public", "--no-example", token=token)
    example = CATALOGUE / "noop" / "example.json"
    stack.tidemill("example", "add", "tidemill/noop", str(example), token=token)
    models = [f"tidemill/{name}" for name in SHOWN]
    stack.tidemill("collection", "set", "try-these-first", *models, "--file", str(CATALOGUE / "COLLECTION.md"))


@pytest.fixture
def checkout(stack, javascript, tmp_path):
    """A folder with all that a checkout has, in which a page may make files."""
    place = tmp_path / "tidemill"
    place.mkdir()
    for entry in CHECKOUT.iterdir():
        if entry.name not in {".git", ".tidemill", ".pytest_cache"}:
            (place / entry.name).symlink_to(entry)
    (place / ".tidemill").symlink_to(stack.home)
    (place / "node_modules").symlink_to(javascript.environment / "node_modules")
    return place


@pytest.fixture
def programs(python_1, python_2, javascript):
    return {
        "sh": [],
        "python": [sys.executable],
        "python replicate 1": [python_1.interpreter],
        "python replicate 2": [python_2.interpreter],
        "javascript": [javascript.interpreter],
    }


@pytest.mark.timeout(PAGE_WITHIN_S)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(b.runs for b in blocks(page))], ids=lambda page: page.stem
)
async def test_every_block_of_a_page_does_what_the_page_says(page, stack, catalogue, checkout, programs, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("pages use curl, which is not installed")
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    (tmp_path / ".curlrc").write_text("fail-with-body\n")  # what the API refuses is a failure here
    port = OwnPort()
    environment |= {
        **stack.settings,  # a page that says `./just up` means this stack, which must not lose its own
        "HOME": str(tmp_path),
        "TIDEMILL_HOME": str(stack.home),
        "TIDEMILL_CACHE": str(tmp_path.parent / "cache"),
        "PYTHONUNBUFFERED": "1",
        "PORT": str(port.number),  # of what a page starts itself
    }
    first = documents.Block(page.name, 0, "sh", "", "", ". .tidemill/env\n")
    async with documents.session(checkout, environment) as shell:
        for block in (first, *blocks(page)):
            if block.runs:
                await shell.run(block, programs[block.language])
