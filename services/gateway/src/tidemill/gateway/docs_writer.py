"""`python -m tidemill.gateway.docs_writer docs`: writes the OpenAPI document and the reference into a folder.

It also links the handwritten pages of the folder into this package, so that a wheel contains them.
"""

import json
import os
import sys
from pathlib import Path
from typing import Final

from tidemill.gateway.reference import resource_pages
from tidemill.gateway.reference.openapi import document
from tidemill.gateway.triggers import EXTENSIONS, REPLICATE

LOCAL_URL: Final = "http://127.0.0.1:8300/v1"
# Their links lead into the sources, which a gateway does not serve.
FOR_CONTRIBUTORS: Final = frozenset({"architecture", "glossary"})
PACKAGE_DOCS: Final = Path(__file__).parent / "docs"


def generated() -> dict[str, str]:
    """Return the files that the folder should contain: their text by path."""
    made = document(REPLICATE, EXTENSIONS, LOCAL_URL)
    pages = {f"reference/{name}.md": page for name, page in resource_pages.pages(made).items()}
    return {"openapi.json": json.dumps(made, indent=1, ensure_ascii=False) + "\n", **pages}


def write(folder: Path) -> None:
    """Write the files; delete reference pages of removed resources."""
    wanted = generated()
    for old in (folder / "reference").glob("*.md"):
        if f"reference/{old.name}" not in wanted:
            old.unlink()
    for path, text in wanted.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    link(folder)


def link(folder: Path) -> None:
    PACKAGE_DOCS.mkdir(exist_ok=True)
    pages = {page.name: page for page in folder.glob("*.md") if page.stem not in FOR_CONTRIBUTORS}
    for old in PACKAGE_DOCS.iterdir():
        if old.name not in pages:
            old.unlink()
    for name, page in pages.items():
        target = PACKAGE_DOCS / name
        if not target.is_symlink():
            target.symlink_to(os.path.relpath(page.resolve(), PACKAGE_DOCS.resolve()))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
