"""The pages for newcomers name what exists: `docs/architecture.md` and `docs/glossary.md`, name by name.

A name is a link whose text is code and whose target is a file of the repository: [`Class.method`](../path.py).
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "architecture.md", ROOT / "docs" / "glossary.md"]
NAME = re.compile(r"\[`([^`]+)`\]\((\.\./[^)#]+)\)")
NAMES_AT_LEAST = 30


def defined(source):
    """The names that a module defines: classes, functions, constants, and members as Class.member."""
    names = set()

    def visit(body, prefix):
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.Assign):
                names.update(prefix + target.id for target in node.targets if isinstance(target, ast.Name))
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(prefix + node.target.id)

    visit(ast.parse(source).body, "")
    return names


def missing(text, folder):
    """The names of a page that lead nowhere: the file is not there, or it does not define the name."""
    wrong = []
    for name, target in NAME.findall(text):
        path = folder / target
        is_file = name == path.name or name.rstrip("/") == path.name
        if not path.exists() or not (is_file or (path.suffix == ".py" and name in defined(path.read_text()))):
            wrong.append(f"{name} in {target}")
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_name_of_the_page_exists(page):
    text = page.read_text()
    assert len(NAME.findall(text)) >= NAMES_AT_LEAST
    assert not missing(text, page.parent)


def test_a_name_that_is_gone_is_found(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "a.py").write_text("LIMIT: int = 1\nclass A:\n    async def go(self): ...\n")
    good = "[`A.go`](../a.py), [`LIMIT`](../a.py), [`a.py`](../a.py)"
    bad = "[`A.gone`](../a.py), [`B`](../b.py)"
    assert missing(good, tmp_path / "docs") == []
    assert missing(good + bad, tmp_path / "docs") == ["A.gone in ../a.py", "B in ../b.py"]
